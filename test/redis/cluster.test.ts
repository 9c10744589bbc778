// The part of the Cluster's faults that is quick enough for every change. The whole of them: `npm run test:faults -- --only 'fault C'`.
import { clusterFaults } from '../faults/clusters.js'
import { expectSurvived } from '../faults/expect.js'

expectSurvived(clusterFaults.filter(({ short }) => short))
