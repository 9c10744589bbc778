// The Cluster faults that are quick enough for every change. All of them run with `npm run test:faults --
// --only 'fault C'`.
import { clusterFaults } from '../faults/clusters.js'
import { expectSurvived } from '../faults/expect.js'

expectSurvived(clusterFaults.filter(({ short }) => short))
