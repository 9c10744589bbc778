// Every fault that is tried.
import { connectionFaults } from './connections.js'
import { masterFaults, type Fault } from './masters.js'

export const allFaults: readonly Fault[] = [...masterFaults, ...connectionFaults]
