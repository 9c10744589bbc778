/** Clients that lost their gateway are back in their rooms after so long. */
export const resumeBarMs = 5_000
export const resumedPercentBar = 99.9

/** A promise with a time is asserted with five times the bar, so that a busy machine is slow and not wrong, and judged in the table of figures. */
export const slack = 5
