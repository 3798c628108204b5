// A node:test reporter that writes one JSON line of counts; scripts/test.mjs adds the tiers up.

/** Counts tests (not suites) over the events of one run. */
// oxlint-disable-next-line import/no-default-export -- node:test takes a reporter as the default export
export default async function* countReporter(events) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for await (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    if (data.details?.type === 'suite') continue;
    if (type === 'test:fail') counts.failed++;
    else if (data.skip !== undefined || data.todo !== undefined) counts.skipped++;
    else counts.passed++;
  }
  yield `${JSON.stringify(counts)}\n`;
}
