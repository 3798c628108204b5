// Medians and spreads of a few rounds.

/** The middle value; of an even number the upper one. */
export const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** The smallest and the largest. */
export const spread = (values) => [Math.min(...values), Math.max(...values)];
