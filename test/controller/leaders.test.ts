// Several controller processes as operators run them: one leads, the others are standbys, and a process that
// may have lost the Lease writes nothing.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ControllerProcess } from '../support/controller.js'
import { kubeStartMsMax } from '../support/kube-apiserver.js'
import { manifestsIn, namespace } from '../support/kube-parley.js'
import { demoTenant, endEnvironments, generated, ready, TestEnvironment } from '../support/reconciled.js'
import { until } from '../support/redis-processes.js'

let environment: TestEnvironment
let serviceAccount: string

beforeAll(async () => {
  environment = await TestEnvironment.start()
  await environment.client.apply(namespace('parley'))
  for (const object of await manifestsIn('rbac')) await environment.client.apply(object)
  serviceAccount = await environment.kube.kubeconfigOfServiceAccount('parley', 'parley-controller')
}, kubeStartMsMax)
afterAll(endEnvironments)

/** Starts a controller with exactly the rights of the manifests. */
function start(): Promise<ControllerProcess> {
  const { sealingKeyFile, target: place } = environment
  const args = ['--namespace', 'parley', '--public-url', 'wss://chat.example.com']
  return ControllerProcess.start({ ...place, kubeconfig: serviceAccount }, { sealingKeyFile, args })
}

const leads = async (controller: ControllerProcess) =>
  (await controller.ops('/healthz')).text.includes('"leading":true')

async function applied(name: string): Promise<void> {
  await environment.client.apply(demoTenant(name))
  await environment.condition('Ready', ready, { name, deadlineMs: 100_000 })
}

test('at SIGTERM the lease is handed over, and the standby continues', async () => {
  const first = await start()
  await until('a leader', () => leads(first))
  await applied('one')
  const second = await start()
  await until('a warm standby', async () => (await second.ops('/readyz')).status === 200)
  expect(await leads(second)).toBe(false)
  // The caches of a standby are filled, but its queues stay empty: they would otherwise grow with every
  // object that is created or deleted while the process is a standby.
  expect((await second.ops('/metrics')).text).toContain(
    'workqueue_adds_total{name="chattenant",controller="chattenant"} 0',
  )
  const startMs = performance.now()
  expect(await first.stop()).toEqual({ code: 0, signal: null })
  // The requirement is 3 s (issue 5); the deadline leaves room for a slow machine.
  await until('another leader', () => leads(second), { deadlineMs: 15_000 })
  console.log(`handed over after ${Math.round(performance.now() - startMs)} ms`)
  await applied('two')
  await second.stop()
})

test('after kill -9 a standby leads once the lease has expired', async () => {
  const first = await start()
  await until('a leader', () => leads(first))
  const second = await start()
  await until('a warm standby', async () => (await second.ops('/readyz')).status === 200)
  const startMs = performance.now()
  await first.kill()
  // The lease lasts 15 s, and the requirement is 2 s more.
  await until('another leader', () => leads(second), { deadlineMs: 85_000 })
  console.log(`taken over after ${Math.round(performance.now() - startMs)} ms`)
  expect(await leads(second)).toBe(true)
  await applied('three')
  await second.stop()
}, 120_000)

test('a leader whose lease was taken writes nothing more, and exits with code 75', async () => {
  const controller = await start()
  await until('a leader', () => leads(controller))
  await applied('four')
  const ref = {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    namespace: 'parley',
    name: 'parley-controller',
  }
  const { spec } = await environment.client.get(ref)
  await environment.client.patch(ref, {
    spec: { holderIdentity: 'another', leaseTransitions: spec.leaseTransitions + 1 },
  })
  expect(await controller.program.ended).toEqual({ code: 75, signal: null })
  await environment.client.apply(demoTenant('five'))
  expect((await environment.tenant('five'))?.['status']).toBeUndefined()
  await environment.client.delete(ref)
})

test('a leader exits without changes when Redis has seen a later leader', async () => {
  const controller = await start()
  await until('a leader', () => leads(controller))
  await applied('six')
  const { client } = await environment.redis()
  const version = `parley:{catalog}:${environment.target.installation}:version`
  // The fence that a leader of a later term writes.
  await client.hset(version, 'fence', '4000000000')
  await environment.client.apply(demoTenant('six', { ...generated, channels: [] }))
  expect(await controller.program.ended).toEqual({ code: 75, signal: null })
  expect((await environment.policy('six'))?.channels).toHaveLength(1)
  await client.del(version)
})

test('a leader whose API server is unreachable for longer than the renew deadline exits with code 75', async () => {
  const controller = await start()
  await until('a leader', () => leads(controller))
  await environment.kube.killApiServer()
  try {
    expect(await controller.program.ended).toEqual({ code: 75, signal: null })
  } finally {
    await environment.kube.startApiServer()
  }
})

test.each([
  [
    'a sealing key file that does not exist',
    ['--sealing-key-file', '/nowhere'],
    'sealing key file "/nowhere"',
  ],
  ['a kubeconfig that does not exist', ['--kubeconfig', '/nowhere'], 'kubeconfig cannot be read'],
])('exits at the start with an explanation: %s', async (_, args, explanation) => {
  const { target: place, sealingKeyFile } = environment
  const controller = ControllerProcess.try([
    ...['--redis', place.redis, '--kubeconfig', place.kubeconfig, '--sealing-key-file', sealingKeyFile],
    ...['--ops-port', '0', ...args],
  ])
  expect(await controller.program.ended).toEqual({ code: 78, signal: null })
  expect(controller.program.output).toContain(explanation)
})

test('metrics have the names that dashboards for controller-runtime use', async () => {
  const controller = await start()
  await until('a leader', () => leads(controller))
  await applied('seven')
  const { text } = await controller.ops('/metrics')
  for (const series of [
    'controller_runtime_reconcile_total{controller="chattenant",result="success"}',
    'workqueue_depth{name="chattenant",controller="chattenant"}',
    'leader_election_master_status{name="parley-controller"} 1',
    'rest_client_requests_total{',
    'parley_controller_watch_silent_seconds{kind="ChatTenant"} ',
  ])
    expect(text).toContain(series)
  await controller.stop()
})
