// The Cluster faults that are quick enough for every change. All of them run with `npm run test:faults --
// --only 'fault C'`.
import { clusterFaults } from '../faults/clusters.js'
import { defineFaultTests } from '../faults/define-tests.js'

defineFaultTests(clusterFaults.filter(({ short }) => short))
