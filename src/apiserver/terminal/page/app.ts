/** The page of terminals: nodes and their state, one terminal at a time, replay of recordings. */
import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import './page.css';
import { parseCast } from '../../../lib/asciicast.ts';
import { connect } from './browser/connection.ts';
import type { Connection, Credentials } from './browser/connection.ts';
import { element, showList } from './browser/elements.ts';
import { Player } from './browser/player.ts';
import { RequestError, Server } from './browser/server.ts';
import type { NodeEntry, Overview, RecordingEntry } from './browser/server.ts';

/** How often the nodes are asked for while the page is looked at, milliseconds. */
const REFRESH_MS = 2000;

const server = new Server();
const terminal = new Terminal({
  cursorBlink: true,
  fontFamily: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace',
  fontSize: 14,
  scrollback: 5000,
  theme: { background: '#10141a' },
});
const fit = new FitAddon();
let nodes: NodeEntry[] = [];
let recordings: RecordingEntry[] = [];
/** The node or recording on the stage. */
let current = '';
let connection: Connection | undefined;
let player: Player | undefined;

const input = (id: string): HTMLInputElement => element<HTMLInputElement>(id);

function show(id: string, isShown: boolean): void {
  element(id).hidden = !isShown;
}

function setState(text: string, kind: '' | 'good' | 'bad' = ''): void {
  element('state').textContent = text;
  element('state').className = `badge ${kind}`;
}

function setProblem(text: string): void {
  element('problem').textContent = text;
  show('problem', text !== '');
}

function message(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}

async function refresh(): Promise<void> {
  const { token } = server;
  try {
    const overview = await server.overview();
    if (server.token !== token) return;
    setProblem('');
    await showOverview(overview);
  } catch (err) {
    if (server.token !== token) return; // somebody has signed in since
    const status = err instanceof RequestError ? err.status : 0;
    if (status === 401 || status === 403) askForToken(status === 403 ? message(err) : '');
    else setProblem(message(err));
  }
}

async function showOverview(overview: Overview): Promise<void> {
  const wasHidden = element('main').hidden;
  show('sign-in', false);
  show('main', true);
  if (wasHidden) fit.fit();
  element('operator').textContent = overview.operator;
  show('issue-choice', overview.can_issue);
  show('recordings-section', overview.has_recordings);
  ({ nodes } = overview);
  if (overview.has_recordings) recordings = await server.recordings();
  if (wasHidden) chooseByAddress();
  showLists();
  document.body.dataset['ready'] = 'true';
}

/** A link to the page may name a node's object (`#nodemaintenances-…`): that node alone is listed then. */
function chooseByAddress(): void {
  const wanted = nodes.find(({ name }) => `#${encodeURIComponent(name)}` === window.location.hash);
  if (wanted !== undefined) input('filter').value = wanted.name;
}

function showLists(): void {
  const filter = input('filter').value.toLowerCase();
  const found = nodes.filter(({ node, name }) => `${node} ${name}`.toLowerCase().includes(filter));
  show('no-nodes', nodes.length === 0);
  showList(
    element('nodes'),
    found.map(({ name, node, state, since, router, address, origin }) => ({
      key: name,
      title: node,
      state: origin === '' ? state : `${state}, from ${origin}`,
      note: `${state === 'online' ? 'since' : 'last'} ${shortTime(since)} · ${router === '' ? address : `${router} ${address}`}`,
      className: state,
      isCurrent: name === current,
      isEnabled: state === 'online',
    })),
    (name) => void openTerminal(name),
  );
  showList(
    element('recordings'),
    recordings.map(({ name, bytes, time }) => ({
      key: name,
      title: name.replace(/^[^Z]*Z-/u, '').replace(/-[0-9a-f]{8}\.cast$/u, ''),
      state: `${Math.ceil(bytes / 1024)} KiB`,
      note: shortTime(time),
      className: '',
      isCurrent: name === current,
      isEnabled: true,
    })),
    (name) => void playRecording(name),
  );
}

function shortTime(time: string): string {
  return time === '' ? 'never seen' : time.slice(0, 19).replace('T', ' ');
}

function askForToken(why: string): void {
  server.token = '';
  leaveStage();
  show('main', false);
  show('leave', false);
  show('sign-in', true);
  setProblem(why);
  element('operator').textContent = '';
  document.body.dataset['ready'] = 'token';
  input('token').focus();
}

function credentials(): Credentials {
  const user = input('user').value.trim();
  const method = document.querySelector<HTMLInputElement>('input[name=method]:checked')?.value;
  if (method === 'issue') return { user, issue: true };
  if (method !== 'key') return { user };
  return {
    user,
    privateKey: element<HTMLTextAreaElement>('private-key').value,
    passphrase: input('passphrase').value,
    certificate: element<HTMLTextAreaElement>('certificate').value.trim(),
  };
}

function leaveStage(): void {
  if (current !== '') terminal.reset();
  connection?.close();
  connection = undefined;
  player?.pause();
  player = undefined;
  current = '';
  show('player', false);
  show('close', false);
}

async function openTerminal(name: string): Promise<void> {
  leaveStage();
  current = name;
  const node = nodes.find((entry) => entry.name === name)?.node ?? name;
  element('title').textContent = node;
  setState('connecting');
  showLists();
  fit.fit();
  let ticket: string;
  try {
    ticket = await server.ticket(name);
  } catch (err) {
    setState(message(err), 'bad');
    return;
  }
  if (current !== name) return; // another one was chosen meanwhile
  const { cols, rows } = terminal;
  const own = connect(
    { name, ticket, credentials: credentials(), cols, rows },
    {
      onOutput(bytes, done) {
        if (own === connection) terminal.write(bytes, done);
        else done();
      },
      onReady({ user, recorded }) {
        if (own !== connection) return;
        element('title').textContent = `${user}@${node}`;
        setState(recorded ? 'connected, recorded' : 'connected', 'good');
      },
      onEnd(text, isGood) {
        if (own !== connection) return;
        connection = undefined;
        setState(text, isGood ? '' : 'bad');
        show('close', false);
      },
    },
  );
  connection = own;
  show('close', true);
  terminal.focus();
}

async function playRecording(name: string): Promise<void> {
  leaveStage();
  current = name;
  element('title').textContent = name;
  setState('loading');
  showLists();
  try {
    const cast = parseCast(await server.recording(name));
    if (current !== name) return;
    element('title').textContent = cast.header.title ?? name;
    setState('recording');
    show('player', true);
    show('close', true);
    player = new Player(terminal, cast, showPosition);
    player.speed = Number(element<HTMLSelectElement>('speed').value);
    player.play();
  } catch (err) {
    setState(message(err), 'bad');
  }
}

function showPosition(): void {
  if (player === undefined) return;
  const { time, duration, isPlaying } = player;
  input('seek').max = String(duration);
  input('seek').value = String(time);
  element('clock').textContent = `${time.toFixed(1)} / ${duration.toFixed(1)} s`;
  element('play').textContent = isPlaying ? 'Pause' : 'Play';
}

function start(): void {
  terminal.loadAddon(fit);
  terminal.open(element('terminal'));
  terminal.onData((text) => connection?.type(text));
  terminal.onBinary((text) => connection?.bytes(text));
  terminal.onResize(({ cols, rows }) => connection?.resize(cols, rows));
  new ResizeObserver(() => {
    if (player === undefined && !element('main').hidden) fit.fit();
  }).observe(element('terminal'));

  element('sign-in').addEventListener('submit', (event) => {
    event.preventDefault();
    server.token = input('token').value.trim();
    input('token').value = '';
    document.body.dataset['ready'] = 'asking';
    show('leave', true);
    void refresh();
  });
  element('leave').addEventListener('click', () => askForToken(''));
  element('close').addEventListener('click', () => {
    leaveStage();
    element('title').textContent = 'No terminal is open';
    setState('choose a node');
    fit.fit();
    showLists();
  });
  element('play').addEventListener('click', () =>
    player?.isPlaying === true ? player.pause() : player?.play(),
  );
  input('seek').addEventListener('input', () => player?.seek(Number(input('seek').value)));
  element('speed').addEventListener('change', () => {
    if (player !== undefined) player.speed = Number(element<HTMLSelectElement>('speed').value);
  });
  input('filter').addEventListener('input', showLists);
  for (const radio of document.querySelectorAll<HTMLInputElement>('input[name=method]'))
    radio.addEventListener('change', () => show('key-fields', radio.value === 'key' && radio.checked));
  setInterval(() => {
    if (document.visibilityState === 'visible' && !element('main').hidden) void refresh();
  }, REFRESH_MS);
  void refresh();
}

start();
