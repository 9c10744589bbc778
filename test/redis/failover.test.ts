// The faults that are quick enough for every change. All of them run with `npm run test:faults`;
// docs/faults.md describes them.
import { allFaults } from '../faults/all.js'
import { clusterFaults } from '../faults/clusters.js'
import { defineFaultTests } from '../faults/define-tests.js'

// The Cluster faults are in cluster.test.ts, so that the two files run in parallel.
defineFaultTests(allFaults.filter((fault) => fault.short && !clusterFaults.includes(fault)))
