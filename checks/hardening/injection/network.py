"""The rules that close the host and its networks to an agent, for ``nft`` in the container's network namespace."""

from __future__ import annotations

from collections.abc import Sequence

from checks.engine.container_state import CLOSED_ADDRESS

NETWORKS = (
    "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
)  # fmt: skip
"""Addresses that are not of the internet (RFC 6890): of private networks, of providers, of one link, of many hosts."""
NETWORKS_6 = ("fc00::/7", "fe80::/10", "ff00::/8")


def rules(ports: Sequence[int]) -> str:
    """The rules. ``ports`` are TCP ports that stay open everywhere, such as that of the credential gateway.

    The hook puts the host's own addresses and networks in place of @own@ and @own6@. Name servers stay open, since
    the host's are on its network.
    """
    gateway = f"tcp dport {{ {', '.join(map(str, ports))} }} accept" if ports else ""
    return f"""\
table inet nanoclaw {{
    set closed {{
        type ipv4_addr; flags interval; auto-merge
        elements = {{ @own@{", ".join(NETWORKS)} }}
    }}
    set closed6 {{
        type ipv6_addr; flags interval; auto-merge
        elements = {{ @own6@{", ".join(NETWORKS_6)} }}
    }}
    chain output {{
        type filter hook output priority 0; policy accept;
        ip daddr {CLOSED_ADDRESS} drop
        oifname "lo" accept
        meta l4proto {{ tcp, udp }} th dport 53 accept
        {gateway}
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }} accept
        ip daddr @closed meta l4proto tcp reject with tcp reset
        ip6 daddr @closed6 meta l4proto tcp reject with tcp reset
        ip daddr @closed drop
        ip6 daddr @closed6 drop
    }}
}}
"""
