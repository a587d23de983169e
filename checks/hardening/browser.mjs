// Runs inside the agent's container: headless Chromium renders a page that a script makes, and prints it. Meanwhile its
// processes are read from /proc. Arguments: the text, then for each start of Chromium its further options as one word.
// Prints a line of JSON for each start.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';

const [token, ...starts] = process.argv.slice(2);
const TIMEOUT_MS = 1000 * Number(process.env.VERIFY_TIMEOUT ?? 60);
const POLL_MS = 100;

function page() {
  // The page's own script makes the text: a page that is not rendered does not have it.
  const reversed = [...token].reverse().join('');
  const script = `document.body.textContent = [...'${reversed}'].reverse().join('')`;
  return `data:text/html,${encodeURIComponent(`<body>empty<script>${script}</script></body>`)}`;
}

function status(pid) {
  const text = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name) => text.match(new RegExp(`^${name}:\\s*(.*)$`, 'm'))?.[1] ?? '';
  return {
    seccomp: Number(field('Seccomp')),
    filters: Number(field('Seccomp_filters') || -1),
    namespaces: field('NSpid').split(/\s+/).length,
    capabilities: field('CapEff'),
    noNewPrivileges: Number(field('NoNewPrivs')),
  };
}

/** Record the current state of each of the browser's processes, in place of an earlier one. */
function inspect(seen) {
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const argv = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').split(' ');
      if (!/\/chromium$/.test(argv[0])) continue;
      const kind = argv.find((word) => word.startsWith('--type='))?.slice(7) ?? 'browser';
      seen.set(pid, { kind, ...status(pid) });
    } catch {
      // it ended meanwhile
    }
  }
}

async function start(options) {
  const began = Date.now();
  const browser = spawn(
    'chromium',
    ['--headless', '--disable-gpu', '--no-first-run', ...options, '--dump-dom', page()],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let printed = '';
  let stderr = '';
  browser.stdout.on('data', (piece) => (printed += piece));
  browser.stderr.on('data', (piece) => (stderr += piece));
  const seen = new Map();
  const polling = setInterval(() => inspect(seen), POLL_MS);
  let timedOut = false;
  const timeout = setTimeout(() => {
    timedOut = true;
    browser.kill('SIGKILL');
  }, TIMEOUT_MS);
  const [code, signal] = await new Promise((resolve) => browser.on('exit', (...how) => resolve(how)));
  clearInterval(polling);
  clearTimeout(timeout);
  await new Promise((resolve) => setTimeout(resolve, POLL_MS)); // for its last output
  console.log(JSON.stringify({
    seconds: (Date.now() - began) / 1000,
    status: signal ? 128 + os.constants.signals[signal] : code,
    timed_out: timedOut,
    text: printed.match(/<body>([^<]*)/)?.[1] ?? '',
    stderr: stderr.slice(-1500),
    processes: [...seen.values()],
  }));
}

for (const options of starts) await start(options.split(' ').filter(Boolean));
process.exit(0);
