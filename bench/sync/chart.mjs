// Line plots as SVG that read well on dark and on light ground.
const WIDTH = 760;
const PANEL = { left: 70, right: 150, top: 40, height: 220, bottom: 50 };
const STYLE = `text{font:13px system-ui,sans-serif;fill:#24292f}.head{font-weight:600;font-size:14px}.note{fill:#6e7781}
.axis{stroke:#8c959f;stroke-width:1}.grid{stroke:#d0d7de;stroke-width:1}.line{fill:none;stroke-width:2}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#8b949e}.grid{stroke:#30363d}}`;
const COLORS = ['#0969da', '#bf3989', '#1a7f37', '#9a6700', '#8250df', '#cf222e'];

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** A scale that maps values to pixels, with its marks. */
export function linear(low, high, count = 5) {
  const step = niceStep((high - low) / count);
  const end = Math.ceil(high / step) * step;
  const marks = [];
  for (let at = low; at <= end + step / 1e6; at += step) marks.push(at);
  return {
    marks,
    share: (value) => (value - low) / (end - low),
    show: (value) => `${Number(value.toFixed(6))}`,
  };
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1e-9)));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
}

/** A logarithmic scale between powers of ten. */
export function logarithmic(low, high) {
  const [from, to] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const marks = Array.from({ length: to - from + 1 }, (_, at) => 10 ** (from + at));
  const short = (value) =>
    value >= 1e9
      ? `${value / 1e9} G`
      : value >= 1e6
        ? `${value / 1e6} M`
        : value >= 1e3
          ? `${value / 1e3} k`
          : `${value}`;
  return { marks, share: (value) => (Math.log10(value) - from) / (to - from), show: short };
}

/** One panel: `series` are `{ name, points: [[x, y]…], dash, color }`; labels stand at the lines' ends. */
function panel({ title, note, xTitle, x, y, series }, top) {
  const width = WIDTH - PANEL.left - PANEL.right;
  const floor = top + PANEL.top + PANEL.height;
  const px = (value) => (PANEL.left + x.share(value) * width).toFixed(1);
  const py = (value) => (floor - y.share(value) * PANEL.height).toFixed(1);
  const parts = [
    `<text class="head" x="0" y="${top + 18}">${escape(title)} <tspan class="note" font-weight="400" dx="8">${escape(note)}</tspan></text>`,
  ];
  for (const mark of y.marks)
    parts.push(
      `<line class="grid" x1="${PANEL.left}" x2="${PANEL.left + width}" y1="${py(mark)}" y2="${py(mark)}"/>`,
      `<text x="${PANEL.left - 8}" y="${Number(py(mark)) + 4}" text-anchor="end">${y.show(mark)}</text>`,
    );
  for (const mark of x.marks)
    parts.push(`<text x="${px(mark)}" y="${floor + 18}" text-anchor="middle">${x.show(mark)}</text>`);
  parts.push(
    `<line class="axis" x1="${PANEL.left}" x2="${PANEL.left + width}" y1="${floor}" y2="${floor}"/>`,
    `<text class="note" x="${PANEL.left + width / 2}" y="${floor + 38}" text-anchor="middle">${escape(xTitle)}</text>`,
  );
  const ends = series.map(({ points }) => Number(py(points.at(-1)[1])) + 4);
  const places = spread(ends, 15);
  series.forEach(({ name, points, dash, color }, at) => {
    const stroke = color ?? COLORS[at % COLORS.length];
    const line = points.map(([a, b]) => `${px(a)},${py(b)}`).join(' ');
    parts.push(
      `<polyline class="line" stroke="${stroke}"${dash ? ` stroke-dasharray="${dash}"` : ''} points="${line}"/>`,
      ...points.map(([a, b]) => `<circle cx="${px(a)}" cy="${py(b)}" r="3" fill="${stroke}"/>`),
      `<text x="${PANEL.left + width + 8}" y="${places[at].toFixed(1)}" style="fill:${stroke}">${escape(name)}</text>`,
    );
  });
  return parts.join('\n');
}

/** Moves labels apart so that none covers another. */
function spread(wanted, gap) {
  const order = wanted.map((at, index) => ({ at, index })).sort((a, b) => a.at - b.at);
  for (let index = 1; index < order.length; index++)
    order[index].at = Math.max(order[index].at, order[index - 1].at + gap);
  const placed = [];
  for (const { at, index } of order) placed[index] = at;
  return placed;
}

/** A picture of panels below one another. */
export function drawPanels(label, panels) {
  const step = PANEL.top + PANEL.height + PANEL.bottom;
  const height = panels.length * step;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escape(label)}">
<style>${STYLE}</style>
${panels.map((each, at) => panel(each, at * step)).join('\n')}
</svg>
`;
}

/** The plots of the delay study: the provider that moves, mesh and hub, a line a policy. */
export function drawDelays(results) {
  const moves = results.filter(({ scenario }) => scenario === 'moves');
  const most = Math.max(1, ...moves.map(({ seconds }) => seconds));
  const panelOf = (kind, title, note, value) => {
    const rows = moves.filter((row) => row.kind === kind);
    const names = Object.keys(rows[0].policies);
    const series = names.map((name) => ({
      name,
      points: rows.map(({ seconds, policies }) => [seconds, value(policies[name])]),
    }));
    const high = Math.max(1, ...series.flatMap(({ points }) => points.map(([, y]) => y)));
    return {
      title,
      note,
      xTitle: 'news late by, seconds',
      x: linear(0, most, 6),
      y: linear(0, high),
      series,
    };
  };
  const share = ({ failed, made }) => (100 * failed) / made;
  return drawPanels('connections that fail or wait while news is late', [
    ...['mesh', 'hub'].map((kind) =>
      panelOf(
        kind,
        `${kind}: seconds of failing connections`,
        'the only provider moves to another Router',
        (p) => p.failingMs / 1000,
      ),
    ),
    ...['mesh', 'hub'].map((kind) =>
      panelOf(kind, `${kind}: failed connections, %`, 'of those opened until 7 s after the news', share),
    ),
  ]);
}
