// Defines one test for each fault.
import { test } from 'vitest'
import type { Fault } from './fault.js'
import { retryWhenStarved } from './scenario.js'

/** Defines the tests. Each fault asserts through the oracle, and stops what it started. */
export function defineFaultTests(faults: readonly Fault[]): void {
  for (const { number, run, title } of faults) {
    // oxlint-disable-next-line vitest/expect-expect -- the fault itself asserts
    test(`fault ${number}: ${title}`, { timeout: 180_000 }, () =>
      retryWhenStarved(() => run(`${number} ${title}`)),
    )
  }
}
