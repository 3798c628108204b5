// A node:test reporter that writes one JSON line of counts and failures; scripts/test.mjs adds the tiers up.

/** Lines of a failure's text that are kept; the whole stands in the run's own output. */
const MAX_LINES = 40;

/** Counts tests (not suites) over the events of one run, and keeps what failed. */
// oxlint-disable-next-line import/no-default-export -- node:test takes a reporter as the default export
export default async function* countReporter(events) {
  const counts = { passed: 0, failed: 0, skipped: 0, failures: [] };
  for await (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    if (data.details?.type === 'suite') continue;
    if (type === 'test:fail') {
      counts.failed++;
      counts.failures.push({ name: data.name, text: describe(data.details?.error) });
    } else if (data.skip !== undefined || data.todo !== undefined) counts.skipped++;
    else counts.passed++;
  }
  yield `${JSON.stringify(counts)}\n`;
}

/** What a test died of: node:test wraps the error that the test threw. */
function describe(error) {
  const cause = error?.cause instanceof Error ? error.cause : error;
  return String(cause?.stack ?? cause)
    .split('\n')
    .slice(0, MAX_LINES)
    .join('\n');
}
