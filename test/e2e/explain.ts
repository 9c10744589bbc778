// Before every end-to-end test: when it fails, the cluster is asked what the first question of whoever reads the report would be.
import { beforeEach } from 'vitest'
import { lookInto } from './cluster.js'
import { namespace } from './installation.js'

beforeEach(({ onTestFailed }) => {
  onTestFailed(async () => console.error(await lookInto(namespace)))
})
