// Failures of controllers: of the leader, and of all of them.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { chatTenant, namespace as namespaceObject } from '../support/kube-parley.js'
import { apply, eventually, get, kubectl, list } from './cluster.js'
import { recordDuration } from './measurements.js'
import {
  expectPods,
  freshInstall,
  inNamespace,
  killPod,
  readyPods,
  release,
  uninstallAll,
  rolloutDeadlineMs,
} from './installation.js'
import { createTenants, tenantNamespaces } from './tenants.js'

/** The duration of the lease is 15 s. The rest is the time that the next leader needs to read all objects. */
const takeoverTargetMs = 20_000
const deletionTargetMs = 10_000
const fullNamespace = 'parley-e2e-full'

beforeAll(async () => {
  await freshInstall({ autoscaling: { provider: 'none' } })
  await createTenants()
})

afterAll(async () => {
  await kubectl(['delete', '--ignore-not-found', `namespace/${fullNamespace}`, '--timeout=300s'])
  await uninstallAll()
})

test('the leading controller is killed: an edit takes effect within the lease duration and some seconds', async ({
  task,
}) => {
  const { spec } = await get(`lease/${release}-controller`, ...inNamespace)
  const leader = (await readyPods('controller')).find(({ metadata: { name } }) =>
    spec.holderIdentity.startsWith(name),
  )
  expect(leader, `${spec.holderIdentity} is a pod`).toBeDefined()
  const inTenantNamespace = ['--namespace', tenantNamespaces[0]]
  const sinceMs = performance.now()
  // A pod that is deleted with grace period 0 still has a second in which it could release its Lease, so the
  // Lease gets another holder.
  const renewTime = new Date().toISOString().replace('Z', '000Z')
  const gone = JSON.stringify({ spec: { holderIdentity: 'gone', acquireTime: renewTime, renewTime } })
  await kubectl(['patch', `lease/${release}-controller`, '--type=merge', `--patch=${gone}`, ...inNamespace])
  await killPod(leader)
  await kubectl([
    'patch',
    'chattenant/acme',
    '--type=merge',
    '--patch={"spec":{"displayName":"Another"}}',
    ...inTenantNamespace,
  ])
  await eventually(
    'a programmed edit',
    async () => {
      const { metadata, status } = await get('chattenant/acme', ...inTenantNamespace)
      const programmed = status.conditions.find(({ type }: { type: string }) => type === 'Programmed')
      return programmed.status === 'True' && programmed.observedGeneration === metadata['generation']
    },
    rolloutDeadlineMs,
  )
  await recordDuration(task.name, 'programmed', { sinceMs, targetMs: takeoverTargetMs })
})

test('a namespace with tenants is deleted within seconds while no controller runs', async ({ task }) => {
  const names = Array.from({ length: 20 }, (_, index) => `tenant-${index}`)
  const { spec } = await get('chattenant/acme', '--namespace', tenantNamespaces[0])
  await apply(namespaceObject(fullNamespace))
  await apply(...names.map((name) => chatTenant(spec, { name, ns: fullNamespace })))
  await kubectl([
    'wait',
    '--for=condition=Ready',
    'chattenants',
    '--all',
    '--timeout=120s',
    '--namespace',
    fullNamespace,
  ])
  const deployment = `deployment/${release}-controller`
  await kubectl(['scale', deployment, '--replicas=0', ...inNamespace])
  await expectPods('controller', 0, rolloutDeadlineMs)

  const sinceMs = performance.now()
  await kubectl(['delete', `namespace/${fullNamespace}`, '--timeout=300s'])
  await recordDuration(task.name, 'deleted', { sinceMs, targetMs: deletionTargetMs })

  await kubectl(['scale', deployment, '--replicas=2', ...inNamespace])
  await expectPods('controller', 2, rolloutDeadlineMs)
  expect(await list('chattenants', '--namespace', fullNamespace)).toEqual([])
})
