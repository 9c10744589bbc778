// The tests that every merge must pass on a real cluster: `npm run test:e2e -- --smoke`. Each test continues
// from the state of the previous one.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { dataOf, sdkAt, subscribed } from '../support/centrifuge-sdk.js'
import { ChatClient, joined, refusedUpgrade } from '../support/chat-client.js'
import { ClientGroup } from './client-group.js'
import { reportResumption } from './measurements.js'
import { expectPods, freshInstall, killPod, readyPods, uninstallAll, serviceUrl } from './installation.js'
import { createTenants, type Tenant } from './tenants.js'

/** Prometheus and its adapter need about a minute on an idle machine to pass the metric to the HPA. */
const scalingDeadlineMs = 300_000
const clients = 60

let tenants: Tenant[] = []
let url = ''
let group: ClientGroup | undefined

beforeAll(async () => {
  await freshInstall({ autoscaling: { minReplicas: 1, maxReplicas: 2, targetConnections: clients - 20 } })
  url = await serviceUrl()
})

afterAll(async () => {
  group?.close()
  await uninstallAll()
})

test('the chart installs one gateway, two controllers and three Redis', async () => {
  const counts = await Promise.all(
    (['gateway', 'controller', 'redis'] as const).map(
      async (component) => (await readyPods(component)).length,
    ),
  )
  expect(counts).toEqual([1, 2, 3])
})

test('two tenants become ready, each with a key in its Secret', async () => {
  tenants = await createTenants()
  expect(tenants.map(({ name }) => name)).toEqual(['parley-e2e-red/acme', 'parley-e2e-blue/acme'])
})

test('users of both endpoints exchange messages, which no other tenant receives', async () => {
  const [red, blue] = tenants
  if (!red || !blue) throw new Error('the tenants are missing')
  const chatUrl = ({ name }: Tenant) => `${url}/${name}/ws`
  const bearer = async (tenant: Tenant) => ({
    options: { headers: { Authorization: `Bearer ${await tenant.token('ann')}` } },
  })
  const ann = await ChatClient.open(chatUrl(red), await bearer(red))
  const outsider = await ChatClient.open(chatUrl(blue), await bearer(blue))
  await Promise.all([ann, outsider].map((client) => joined(client, 'garden')))
  const ben = sdkAt(`${url}/${red.name}/connection/websocket`, { getToken: () => red.token('ben') })
  ben.connect()
  const received = dataOf(await subscribed(ben, 'garden'))

  const { durability } = await ann.done({ type: 'room_message', room: 'garden', content: 'hello' })
  expect(durability).toBe('replicated')
  expect(await received.next()).toBe('hello')
  await ben.publish('garden', 'welcome')
  expect(await ann.next('chat', ({ from }) => from === 'ben')).toMatchObject({ content: 'welcome' })
  expect((await outsider.settle()).filter(({ event }) => event === 'chat')).toEqual([])

  // The token has a valid signature, but of another tenant.
  const { status } = await refusedUpgrade(chatUrl(blue), await bearer(red))
  expect(status).toBe(401)
})

test('the HPA adds a gateway when clients connect', async () => {
  group = await ClientGroup.connect({ url, tenants, clients, rooms: 3, publishesPerSecond: 12 })
  await expectPods('gateway', 2, scalingDeadlineMs)
})

test('a gateway is killed: all its clients resume at the other one, and nothing is lost', async ({
  task,
}) => {
  if (!group) throw new Error('the clients are missing')
  const [first] = await expectPods('gateway', 2, scalingDeadlineMs)
  group.resetResumption()
  await killPod(first)
  await group.waitForLosses(1, 60_000)
  await group.waitForAcksInEachRoom(10, 120_000)
  await group.waitForResumption(120_000)
  await reportResumption(task.name, group)
  await group.expectNothingLost()
})
