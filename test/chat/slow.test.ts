// A client that stops reading must neither fill the gateway's memory nor slow other clients.
import { expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { chatAs, joined, type ChatClient } from '../support/chat-client.js'
import { MovableClock } from '../support/clock.js'
import type { TestGateway } from '../support/gateway.js'
import type { OutboxBounds } from '../../src/session/io/outbox.js'

const ageMaxMs = 10_000
const content = 'x'.repeat(30_000)
/** Far more than the kernel buffers for a loopback connection, on both sides together. */
const flood = 600

interface Party {
  readonly clock: MovableClock
  readonly gateway: TestGateway
  readonly speaker: ChatClient
  readonly reader: ChatClient
  readonly sleeper: ChatClient
}

async function party(outbox: OutboxBounds): Promise<Party> {
  const clock = new MovableClock()
  const gateway = await gatewayFor({}, { clock, limits: { outbox }, random: () => 1 })
  const [speaker, reader, sleeper] = [
    await chatAs(gateway, 'speaker'),
    await chatAs(gateway, 'reader'),
    await chatAs(gateway, 'sleeper'),
  ]
  for (const client of [reader, sleeper]) await joined(client, 'general')
  sleeper.socket.pause()
  await reader.settle()
  return { clock, gateway, speaker, reader, sleeper }
}

const say = (speaker: ChatClient): Promise<unknown> =>
  speaker.done({ type: 'chat', room: 'general', content })

async function slowCloses({ gateway }: TestGateway): Promise<number> {
  const { values } = await gateway.metrics.slowCloses.get()
  return values[0]?.value ?? 0
}

/** The close frame may be stuck behind unread bytes. In that case the connection is cut. */
async function expectSlow({ gateway, sleeper }: Party): Promise<void> {
  expect(await slowCloses(gateway)).toBe(1)
  const sessions = [...gateway.gateway.tenants].flatMap((tenant) => [...tenant.sessions])
  expect(sessions.map((session) => session.identity.user).toSorted()).toEqual(['reader', 'speaker'])
  expect(gateway.gateway.context.sessions.size).toBe(2)
  sleeper.socket.resume()
  expect([3008, 1006]).toContain((await sleeper.closed()).code)
}

test('a client with too many waiting bytes is closed, and the others receive everything in order', async () => {
  const all = await party({ bytesMax: 262_144, ageMaxMs })
  const { gateway, speaker, reader } = all
  const offsets = []
  while ((await slowCloses(gateway)) === 0 && offsets.length < flood) {
    await say(speaker)
    offsets.push((await reader.next('chat')).offset)
  }
  await say(speaker)
  offsets.push((await reader.next('chat')).offset)
  await expectSlow(all)
  expect(offsets).toEqual(offsets.map((_, index) => index + 1))
})

/** More than the kernel takes, and less than the bound. */
async function fill(speaker: ChatClient): Promise<void> {
  for (let n = 0; n < flood; n += 1) await say(speaker)
}

const patient = { bytesMax: 268_435_456, ageMaxMs }

test('a client whose bytes wait too long is closed by the next frame', async () => {
  const all = await party(patient)
  const { clock, gateway, speaker } = all
  await fill(speaker)
  expect(await slowCloses(gateway)).toBe(0)
  clock.move(ageMaxMs + 1_000, gateway)
  await say(speaker)
  await expectSlow(all)
})

test('a client whose bytes wait too long is closed by the next ping', async () => {
  const all = await party(patient)
  const { clock, gateway, reader, speaker } = all
  await fill(speaker)
  clock.move(25_500, gateway)
  await Promise.all([reader.next('ping'), speaker.next('ping')])
  await expectSlow(all)
})

test('a client that pauses briefly receives everything when it reads again', async () => {
  const { clock, gateway, speaker, sleeper } = await party(patient)
  await fill(speaker)
  clock.move(ageMaxMs - 1_000, gateway)
  sleeper.socket.resume()
  const offsets = []
  while (offsets.length < flood) offsets.push((await sleeper.next('chat')).offset)
  expect(offsets).toEqual(offsets.map((_, index) => index + 1))
})
