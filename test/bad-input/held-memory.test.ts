// A gateway process keeps its memory while clients do not read, or send more than Redis takes, and another
// tenant's clients notice nothing.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { chatAs, joined } from '../support/chat-client.js'
import { endPrograms } from '../support/child-process.js'
import { GatewayProcess, ManifestFolder } from '../support/gateway-process.js'
import { RawClient } from '../support/raw-client.js'
import { text } from '../support/raw-frames.js'
import { upgradeRequest } from '../support/raw-http.js'
import { endRedisProcesses, startRedis, type RedisProcess } from '../support/redis-processes.js'

/**
 * The bar is wide, since memory depends on the garbage collector; without bounds it grew by 500 to 1,000 MB.
 */
const growthBytesMax = 250 * 1024 * 1024
const deadlineMs = 60_000

let redis: RedisProcess
let manifests: ManifestFolder
let gateway: GatewayProcess

beforeAll(async () => {
  redis = await startRedis()
  manifests = await ManifestFolder.make()
  gateway = await GatewayProcess.start({
    redis: `redis://127.0.0.1:${redis.port}`,
    args: ['--tenants', manifests.path, '--memory-limit', '256'],
  })
})

afterAll(async () => {
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
})

const rssBytes = (): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${gateway.program.pid}/status`, 'utf8'))?.[1]) * 1024

async function metric(name: string): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${gateway.opsPort}/metrics`)
  return Number(new RegExp(`^${name} (\\d+)`, 'm').exec(await response.text())?.[1])
}

/** Connects clients of the chat endpoint that do not read after the handshake. */
async function connectDeaf(count: number): Promise<RawClient[]> {
  const clients: RawClient[] = []
  for (let index = 0; index < count; index += 1) {
    const client = await RawClient.connect(gateway.port)
    const token = await gateway.token(`deaf${index}`)
    client.write(upgradeRequest({ target: `/demo/acme/ws?token=${token}` }))
    expect(await client.answer()).toMatchObject({ status: 101 })
    client.socket.pause()
    clients.push(client)
  }
  return clients
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const endMs = Date.now() + deadlineMs
  while (!(await condition())) {
    if (Date.now() > endMs) throw new Error('the condition was not met in time')
    await sleep(50)
  }
}

test('clients that ask for history and do not read do not fill the memory', async () => {
  const writer = await chatAs(gateway, 'writer')
  await joined(writer, 'general')
  for (let n = 0; n < 40; n += 1)
    await writer.done({ type: 'room_message', room: 'general', content: 'x'.repeat(16_000) })
  const before = rssBytes()
  const deaf = await connectDeaf(60)
  let peak = before
  for (let round = 0; round < 20; round += 1) {
    for (const client of deaf)
      client.write(text(`{"type":"history","room":"general","limit":40,"id":${round + 1}}`))
    await sleep(100)
    peak = Math.max(peak, rssBytes())
  }
  expect(peak - before).toBeLessThan(growthBytesMax)
  for (const client of deaf) client.destroy()
  // The replies have used the tenant's bytes to clients. Once these are paid, its clients continue.
  await until(() =>
    writer.done({ type: 'room_message', room: 'general', content: 'still here' }).then(
      () => true,
      () => false,
    ),
  )
  await until(async () => (await metric('parley_gateway_held_bytes')) === 0)
})

test('publishes that Redis does not take stay with the clients', async () => {
  const before = rssBytes()
  const senders = await connectDeaf(30)
  process.kill(redis.pid, 'SIGSTOP')
  let peak = before
  try {
    const packet = text(`{"type":"room_message","room":"general","content":"${'x'.repeat(15_000)}"}`)
    for (let round = 0; round < 40; round += 1) {
      for (const { socket } of senders) if (socket.writableLength < 1_000_000) socket.write(packet)
      if (round % 5 === 0) await sleep(50)
      peak = Math.max(peak, rssBytes())
    }
  } finally {
    process.kill(redis.pid, 'SIGCONT')
  }
  expect(peak - before).toBeLessThan(growthBytesMax)
  for (const client of senders) client.destroy()
  await until(async () => (await metric('parley_gateway_held_bytes')) === 0)
})
