// What every merge must pass on a real cluster: `npm run test:e2e -- --smoke`. The tests are one story, told in this order.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { dataOf, sdkAt, subscribed } from '../support/centrifuge-sdk.js'
import { ChatClient, joined, refusedUpgrade } from '../support/chat-client.js'
import { Crowd } from './crowd.js'
import { reportResumption } from './figures.js'
import { expectPods, freshInstall, kill, readyPods, removeAll, serviceUrl } from './installation.js'
import { makeTenants, type Tenant } from './tenants.js'

/** The metric's way to the HPA is Prometheus's and the adapter's pace: a minute on a quiet machine. */
const scalingDeadlineMs = 300_000
const fans = 60

let tenants: Tenant[] = []
let url = ''
let crowd: Crowd | undefined

beforeAll(async () => {
  await freshInstall({ autoscaling: { minReplicas: 1, maxReplicas: 2, targetConnections: fans - 20 } })
  url = await serviceUrl()
})

afterAll(async () => {
  crowd?.disperse()
  await removeAll()
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
  tenants = await makeTenants()
  expect(tenants.map(({ name }) => name)).toEqual(['parley-e2e-red/acme', 'parley-e2e-blue/acme'])
})

test('users of both doors talk, and nobody else hears them', async () => {
  const [red, blue] = tenants
  if (!red || !blue) throw new Error('the tenants are missing')
  const chatUrl = ({ name }: Tenant) => `${url}/${name}/ws`
  const bearer = async (tenant: Tenant) => ({
    options: { headers: { Authorization: `Bearer ${await tenant.token('ann')}` } },
  })
  const ann = await ChatClient.open(chatUrl(red), await bearer(red))
  const stranger = await ChatClient.open(chatUrl(blue), await bearer(blue))
  await Promise.all([ann, stranger].map((client) => joined(client, 'garden')))
  const ben = sdkAt(`${url}/${red.name}/connection/websocket`, { getToken: () => red.token('ben') })
  ben.connect()
  const heard = dataOf(await subscribed(ben, 'garden'))

  const { durability } = await ann.done({ type: 'room_message', room: 'garden', content: 'hello' })
  expect(durability).toBe('replicated')
  expect(await heard.next()).toBe('hello')
  await ben.publish('garden', 'welcome')
  expect(await ann.next('chat', ({ from }) => from === 'ben')).toMatchObject({ content: 'welcome' })
  expect((await stranger.settle()).filter(({ event }) => event === 'chat')).toEqual([])

  // The right signature of the wrong tenant.
  const { status } = await refusedUpgrade(chatUrl(blue), await bearer(red))
  expect(status).toBe(401)
})

test('the HPA adds a gateway when connections come', async () => {
  crowd = await Crowd.gather({ url, tenants, fans, rooms: 3, publishesPerSecond: 12 })
  await expectPods('gateway', 2, scalingDeadlineMs)
})

test('a gateway is killed: all of its clients resume at the other, and nothing is lost', async ({ task }) => {
  if (!crowd) throw new Error('the crowd is missing')
  const [first] = await expectPods('gateway', 2, scalingDeadlineMs)
  crowd.forgetResumes()
  await kill(first)
  await crowd.lostRooms(1, 60_000)
  await crowd.someAcksEach(10, 120_000)
  await crowd.resumed(120_000)
  await reportResumption(task.name, crowd)
  await crowd.expectNothingLost()
})
