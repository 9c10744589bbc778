// Every fault of docs/faults.md, `PARLEY_FAULTS_ROUNDS` times each: `npm run test:faults -- --rounds N`.
import { describe, test } from 'vitest'
import { connectionFaults } from './connections.js'
import { masterFaults } from './masters.js'
import { unlessTilted } from './world.js'

const rounds = Number(process.env['PARLEY_FAULTS_ROUNDS'] ?? 1)

describe.each(Array.from({ length: rounds }, (_, index) => `round ${index + 1}`))('%s', () => {
  for (const { number, run, words } of [...masterFaults, ...connectionFaults]) {
    // The oracle asserts: it fails the test when it finds a violation.
    test(`fault ${number}: ${words}`, { timeout: 180_000 }, () =>
      unlessTilted(() => run(`${number} ${words}`)),
    )
  }
})
