// Targets of the end-to-end tests.

/** Time within which clients that lost their gateway are back in their rooms. */
export const resumeTargetMs = 5_000
/** Percentage of the clients that must meet the target. */
export const resumedPercentTarget = 99.9

/**
 * Factor between a target and the time at which a test fails, so that a busy machine does not fail it. The
 * table of the run shows the targets.
 */
export const slack = 5
