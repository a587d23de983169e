// Runs inside the agent's container: Chromium, headless, renders a page made by a script and prints it; its processes are
// looked at in /proc while they run. Arguments: the text, then for each start of Chromium its further options as one word.
// For each start a line of JSON on stdout.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';

const [token, ...starts] = process.argv.slice(2);
const BOUND_MS = 1000 * Number(process.env.VERIFY_BOUND ?? 60);
const POLL_MS = 100;

function page() {
  // Put together by the page's own script: what is not rendered does not have it.
  const turned = [...token].reverse().join('');
  const script = `document.body.textContent = [...'${turned}'].reverse().join('')`;
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

/** Note how each process of the browser stands at this moment: what it had last is what counts. */
function look(seen) {
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const argv = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').split(' ');
      if (!/\/chromium$/.test(argv[0])) continue;
      const kind = argv.find((word) => word.startsWith('--type='))?.slice(7) ?? 'browser';
      seen.set(pid, { kind, ...status(pid) });
    } catch {
      // it has gone meanwhile
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
  let said = '';
  browser.stdout.on('data', (piece) => (printed += piece));
  browser.stderr.on('data', (piece) => (said += piece));
  const seen = new Map();
  const looking = setInterval(() => look(seen), POLL_MS);
  let late = false;
  const bound = setTimeout(() => {
    late = true;
    browser.kill('SIGKILL');
  }, BOUND_MS);
  const [code, signal] = await new Promise((resolve) => browser.on('exit', (...how) => resolve(how)));
  clearInterval(looking);
  clearTimeout(bound);
  await new Promise((resolve) => setTimeout(resolve, POLL_MS)); // what it has printed last
  console.log(JSON.stringify({
    seconds: (Date.now() - began) / 1000,
    ended: signal ? 128 + os.constants.signals[signal] : code,
    late,
    text: printed.match(/<body>([^<]*)/)?.[1] ?? '',
    said: said.slice(-1500),
    processes: [...seen.values()],
  }));
}

for (const options of starts) await start(options.split(' ').filter(Boolean));
process.exit(0);
