// Every fault of docs/faults.md, `PARLEY_FAULTS_ROUNDS` times each: `npm run test:faults -- --rounds N`.
import { describe } from 'vitest'
import { allFaults } from './all.js'
import { expectSurvived } from './expect.js'

const rounds = Number(process.env['PARLEY_FAULTS_ROUNDS'] ?? 1)

describe.each(Array.from({ length: rounds }, (_, index) => `round ${index + 1}`))('%s', () => {
  expectSurvived(allFaults)
})
