// Runs every fault of docs/faults.md `PARLEY_FAULTS_ROUNDS` times: `npm run test:faults -- --rounds N`.
import { describe } from 'vitest'
import { allFaults } from './all.js'
import { defineFaultTests } from './define-tests.js'

const rounds = Number(process.env['PARLEY_FAULTS_ROUNDS'] ?? 1)

describe.each(Array.from({ length: rounds }, (_, index) => `round ${index + 1}`))('%s', () => {
  defineFaultTests(allFaults)
})
