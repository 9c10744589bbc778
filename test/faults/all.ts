// The list of all faults.
import { clockFaults } from './clocks.js'
import { clusterFaults } from './clusters.js'
import { connectionFaults } from './connections.js'
import { manyClientsFaults } from './many-clients.js'
import type { Fault } from './fault.js'
import { gatewayFaults } from './gateways.js'
import { masterFaults } from './masters.js'
import { partitionFaults } from './partitions.js'

export const allFaults: readonly Fault[] = [
  ...masterFaults,
  ...partitionFaults,
  ...connectionFaults,
  ...clockFaults,
  ...gatewayFaults,
  ...manyClientsFaults,
  ...clusterFaults,
]
