// The part of the fault suite that is quick enough for every change. The whole of it: `npm run test:faults`, docs/faults.md.
import { allFaults } from '../faults/all.js'
import { expectSurvived } from '../faults/expect.js'

expectSurvived(allFaults.filter(({ short }) => short))
