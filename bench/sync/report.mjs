// The study's figures as tables.
import { markdown } from '../report.mjs';
import { SCENARIOS } from './scenarios.mjs';
import { POLICIES } from './world.mjs';

const cell = ({ failed, delayed, made }) =>
  failed === 0 && delayed === 0 ? '0' : `${failed} + ${delayed} of ${made}`;

/** Failed + delayed connections by scenario, delay and policy. */
export function delayTable(results) {
  const rows = results.map(({ scenario, seconds, kind, policies }) => [
    SCENARIOS[scenario].title,
    `${seconds} s`,
    kind,
    ...POLICIES.map((policy) => cell(policies[policy])),
  ]);
  return markdown(['what happens', 'late by', 'joined by', ...POLICIES], rows);
}

/** How soon after a cut the consumer's node knew the truth. */
export function cutTable(results) {
  const rows = results
    .filter(({ convergedMs }) => convergedMs !== undefined)
    .map(({ scenario, seconds, kind, convergedMs }) => [
      SCENARIOS[scenario].title,
      `${seconds} s`,
      kind,
      `${convergedMs} ms`,
    ]);
  return rows.length === 0
    ? []
    : markdown(['what happens', 'cut for', 'joined by', 'true again after'], rows);
}
