// Runs inside the agent's container: Chromium, headless, renders a page made by a script, and its text is read back; its
// processes are looked at in /proc while they run. Arguments: the text, then for each start of Chromium its further options
// as one word. For each start a line of JSON on stdout. Debugging goes through a pipe, so that no port has to be free.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';

const [token, ...starts] = process.argv.slice(2);
const BOUND_MS = 1000 * Number(process.env.VERIFY_BOUND ?? 60);

function page() {
  // Put together by the page's own script: what is not rendered does not have it.
  const turned = [...token].reverse().join('');
  const script = `document.body.textContent = [...'${turned}'].reverse().join('')`;
  return `data:text/html,${encodeURIComponent(`<body>empty<script>${script}</script></body>`)}`;
}

/** A conversation with a browser, over the pipe that it listens on. */
function talk(browser) {
  let nextId = 0;
  let unread = '';
  const waiting = new Map();
  browser.stdio[4].on('data', (piece) => {
    unread += piece;
    for (let end; (end = unread.indexOf('\0')) >= 0; unread = unread.slice(end + 1)) {
      const message = JSON.parse(unread.slice(0, end));
      waiting.get(message.id)?.(message.result ?? {});
      waiting.delete(message.id);
    }
  });
  browser.stdio[3].on('error', () => {}); // it ended; its exit says how
  return (method, params = {}, sessionId = undefined) => {
    const id = ++nextId;
    browser.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve) => waiting.set(id, resolve));
  };
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

function processes() {
  const found = [];
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const argv = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').split(' ');
      if (!argv[0].includes('chromium') || argv[0].includes('crashpad')) continue;
      const kind = argv.find((word) => word.startsWith('--type='))?.slice(7) ?? 'browser';
      found.push({ kind, ...status(pid) });
    } catch {
      // it has gone meanwhile
    }
  }
  return found;
}

async function look(ask) {
  for (;;) {
    const { targetInfos } = await ask('Target.getTargets');
    const tab = targetInfos?.find((target) => target.type === 'page');
    if (tab) {
      const { sessionId } = await ask('Target.attachToTarget', { targetId: tab.targetId, flatten: true });
      const expression = 'document.body ? document.body.innerText : ""';
      const { result } = await ask('Runtime.evaluate', { expression }, sessionId);
      if (result?.value && result.value !== 'empty') return { text: result.value, processes: processes() };
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function start(options) {
  const began = Date.now();
  const browser = spawn(
    'chromium',
    ['--headless', '--disable-gpu', '--no-first-run', '--remote-debugging-pipe', ...options, page()],
    { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] },
  );
  let said = '';
  browser.stderr.on('data', (piece) => (said += piece));
  const gone = new Promise((resolve) =>
    browser.on('close', (code, signal) => resolve({ ended: signal ? 128 + os.constants.signals[signal] : code })),
  );
  const late = new Promise((resolve) => setTimeout(() => resolve({ late: true }), BOUND_MS));
  const seen = await Promise.race([look(talk(browser)), gone, late]);
  browser.kill('SIGKILL');
  await gone;
  console.log(JSON.stringify({ seconds: (Date.now() - began) / 1000, said: said.slice(-1500), ...seen }));
}

for (const options of starts) await start(options.split(' ').filter(Boolean));
process.exit(0);
