// Controllers go: the one that leads, and all of them.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { chatTenant, namespace as namespaceObject } from '../support/kube-parley.js'
import { apply, eventually, get, kubectl, list } from './cluster.js'
import { took } from './figures.js'
import {
  expectPods,
  freshInstall,
  inside,
  kill,
  readyPods,
  release,
  removeAll,
  rolloutDeadlineMs,
} from './installation.js'
import { makeTenants, tenantNamespaces } from './tenants.js'

/** The lease of 15 s, and what the next leader needs to read everything. */
const takeoverBarMs = 20_000
const deletionBarMs = 10_000
const crowded = 'parley-e2e-crowded'

beforeAll(async () => {
  await freshInstall({ autoscaling: { provider: 'none' } })
  await makeTenants()
})

afterAll(async () => {
  await kubectl(['delete', '--ignore-not-found', `namespace/${crowded}`, '--timeout=300s'])
  await removeAll()
})

test('the leading controller is gone without a word: an edit is in force within the lease and some seconds', async ({
  task,
}) => {
  const { spec } = await get(`lease/${release}-controller`, ...inside)
  const leader = (await readyPods('controller')).find(({ metadata: { name } }) =>
    spec.holderIdentity.startsWith(name),
  )
  expect(leader, `${spec.holderIdentity} is a pod`).toBeDefined()
  const place = ['--namespace', tenantNamespaces[0]]
  const sinceMs = performance.now()
  // Even a pod that is deleted with grace 0 has a second left, in which it would give its Lease back.
  const renewTime = new Date().toISOString().replace('Z', '000Z')
  const gone = JSON.stringify({ spec: { holderIdentity: 'gone', acquireTime: renewTime, renewTime } })
  await kubectl(['patch', `lease/${release}-controller`, '--type=merge', `--patch=${gone}`, ...inside])
  await kill(leader)
  await kubectl([
    'patch',
    'chattenant/acme',
    '--type=merge',
    '--patch={"spec":{"displayName":"Another"}}',
    ...place,
  ])
  await eventually(
    'a programmed edit',
    async () => {
      const { metadata, status } = await get('chattenant/acme', ...place)
      const programmed = status.conditions.find(({ type }: { type: string }) => type === 'Programmed')
      return programmed.status === 'True' && programmed.observedGeneration === metadata['generation']
    },
    rolloutDeadlineMs,
  )
  await took(task.name, 'programmed', { sinceMs, barMs: takeoverBarMs })
})

test('a namespace with tenants is deleted in seconds while no controller runs', async ({ task }) => {
  const names = Array.from({ length: 20 }, (_, index) => `tenant-${index}`)
  const { spec } = await get('chattenant/acme', '--namespace', tenantNamespaces[0])
  await apply(namespaceObject(crowded))
  await apply(...names.map((name) => chatTenant(spec, { name, ns: crowded })))
  await kubectl([
    'wait',
    '--for=condition=Ready',
    'chattenants',
    '--all',
    '--timeout=120s',
    '--namespace',
    crowded,
  ])
  const deployment = `deployment/${release}-controller`
  await kubectl(['scale', deployment, '--replicas=0', ...inside])
  await expectPods('controller', 0, rolloutDeadlineMs)

  const sinceMs = performance.now()
  await kubectl(['delete', `namespace/${crowded}`, '--timeout=300s'])
  await took(task.name, 'deleted', { sinceMs, barMs: deletionBarMs })

  await kubectl(['scale', deployment, '--replicas=2', ...inside])
  await expectPods('controller', 2, rolloutDeadlineMs)
  expect(await list('chattenants', '--namespace', crowded)).toEqual([])
})
