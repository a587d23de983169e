"""Tests of the tests: cases against a docker with an injected fault, runs on a host with one."""
