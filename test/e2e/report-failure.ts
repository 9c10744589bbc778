// Prints the state of the cluster when an end-to-end test fails.
import { beforeEach } from 'vitest'
import { describeNamespace } from './cluster.js'
import { namespace } from './installation.js'

beforeEach(({ onTestFailed }) => {
  onTestFailed(async () => console.error(await describeNamespace(namespace)))
})
