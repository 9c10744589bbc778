// The part of the fault suite that is quick enough for every change. The whole of it: `npm run test:faults`, docs/faults.md.
import { allFaults } from '../faults/all.js'
import { clusterFaults } from '../faults/clusters.js'
import { expectSurvived } from '../faults/expect.js'

// Those of a Cluster are in cluster.test.ts: two files run side by side.
expectSurvived(allFaults.filter((fault) => fault.short && !clusterFaults.includes(fault)))
