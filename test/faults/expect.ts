// How a fault becomes a test.
import { test } from 'vitest'
import type { Fault } from './fault.js'
import { unlessStarved } from './world.js'

/** Each fault asserts through the oracle, and ends what it started. */
export function expectSurvived(faults: readonly Fault[]): void {
  for (const { number, run, words } of faults) {
    // oxlint-disable-next-line vitest/expect-expect -- the fault itself asserts
    test(`fault ${number}: ${words}`, { timeout: 180_000 }, () =>
      unlessStarved(() => run(`${number} ${words}`)),
    )
  }
}
