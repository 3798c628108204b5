// Draws the medians as bars: an SVG that reads well on dark and on light ground.
import { COLUMNS } from './report.mjs';
import { median } from './statistics.mjs';

const WIDTH = 760;
const LABEL_WIDTH = 190;
const VALUE_WIDTH = 80;
const BAR_HEIGHT = 14;
const ROW_HEIGHT = 20;
const PANEL_HEAD = 34;
const PANEL_GAP = 14;

const PANELS = [
  { title: 'bulk, 1 stream, MiB/s', note: 'more is better' },
  { title: 'bulk, 8 streams, MiB/s', note: 'more is better' },
  { title: 'CPU s/GiB', note: 'of all processes on the path; less is better' },
  { title: 'added p50, µs', note: 'round trip over a direct connection; less is better' },
  { title: 'connections/s', note: 'opened, used and closed; more is better' },
];

const STYLE = `text{font:13px system-ui,sans-serif;fill:#24292f}.head{font-weight:600;font-size:14px}.note{fill:#6e7781}
.bar{fill:#8c959f}.own{fill:#0969da}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#8b949e}.bar{fill:#6e7681}.own{fill:#58a6ff}}`;

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

function panel({ title, note }, results, top) {
  const column = COLUMNS.find((each) => each.title === title);
  const bars = [...results].flatMap(([path, figures]) => {
    const values = figures[column.part]?.[column.figure];
    return values === undefined || path === 'direct' ? [] : [{ path, value: median(values) }];
  });
  if (bars.length === 0) return { svg: '', height: 0 };
  const most = Math.max(...bars.map(({ value }) => value));
  const rows = bars.map(({ path, value }, index) => {
    const y = top + PANEL_HEAD + index * ROW_HEIGHT;
    const width = Math.max(1, (Math.max(0, value) / most) * (WIDTH - LABEL_WIDTH - VALUE_WIDTH));
    const kind = path.startsWith('edge') ? 'own' : 'bar';
    return `<text x="${LABEL_WIDTH - 8}" y="${y + 11}" text-anchor="end">${escape(path)}</text>
<rect class="${kind}" x="${LABEL_WIDTH}" y="${y}" width="${width.toFixed(1)}" height="${BAR_HEIGHT}" rx="2"/>
<text x="${(LABEL_WIDTH + width + 6).toFixed(1)}" y="${y + 11}">${column.show(value)}</text>`;
  });
  const head = `<text class="head" x="0" y="${top + 20}">${escape(title)} <tspan class="note" font-weight="400" dx="8">${escape(note)}</tspan></text>`;
  return { svg: [head, ...rows].join('\n'), height: PANEL_HEAD + bars.length * ROW_HEIGHT + PANEL_GAP };
}

/** The picture of a run; panels without figures are left out. */
export function drawChart(results) {
  let top = 0;
  const parts = PANELS.map((each) => {
    const { svg, height } = panel(each, results, top);
    top += height;
    return svg;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${top}" width="${WIDTH}" height="${top}" role="img" aria-label="benchmark results">
<style>${STYLE}</style>
${parts.filter(Boolean).join('\n')}
</svg>
`;
}
