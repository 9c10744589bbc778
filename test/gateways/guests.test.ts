// Guests on several gateways: they keep their identity on all gateways and through restarts, and their share
// of the tenant's connections counts on all of them.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { ChatClient, chatAs, chatUrl, refusedUpgrade } from '../support/chat-client.js'
import { endPrograms } from '../support/child-process.js'
import { defaultRules, GatewayProcess, ManifestFolder, startGateways } from '../support/gateway-process.js'
import { endRedisProcesses, startRedis, until } from '../support/redis-processes.js'

const subjects = [{ authenticated: true }, { anonymous: true }]
const lobby = {
  name: 'open',
  match: { type: 'Literal', value: 'open' },
  grants: [{ operations: ['Subscribe', 'Publish'], subjects }],
} as const

let manifests: ManifestFolder
let keys = ''
let redis = ''
let a: GatewayProcess
let b: GatewayProcess

const keyLine = (id: string, byte: number): string => `${id}:${Buffer.alloc(32, byte).toString('base64')}\n`

beforeAll(async () => {
  const process = await startRedis()
  redis = `redis://127.0.0.1:${process.port}`
  manifests = await ManifestFolder.make([...defaultRules, lobby], { connectionsMax: 8 })
  keys = await mkdtemp(join(tmpdir(), 'parley-keys-'))
  await writeFile(join(keys, 'old'), keyLine('k1', 1))
  await writeFile(join(keys, 'both'), keyLine('k2', 2) + keyLine('k1', 1))
  ;[a, b] = (await startGateways(2, optionsOf('old'))) as [GatewayProcess, GatewayProcess]
})
afterAll(async () => {
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
  await rm(keys, { recursive: true, force: true })
})

function optionsOf(sealingKeys?: string): { redis: string; args: string[] } {
  const sealing = sealingKeys === undefined ? [] : ['--sealing-key-file', join(keys, sealingKeys)]
  return { redis, args: ['--tenants', manifests.path, ...sealing] }
}

/** A gateway that is killed instead would count its connections for a while. */
function stopsWithTest(gateway: GatewayProcess): void {
  onTestFinished(async () => {
    await gateway.stop()
  })
}

interface Guest {
  readonly client: ChatClient
  readonly user: string
  readonly token: string
}

async function guestAt(gateway: GatewayProcess, guestToken = ''): Promise<Guest> {
  const client = await ChatClient.open(`${chatUrl(gateway)}?guest_token=${guestToken}`)
  const { guest_token: token, user_id: user } = await client.next('welcome')
  return { client, user: String(user), token: String(token) }
}

test('a guest is the same guest on another gateway, after a restart and during a rotation of the key', async () => {
  const { client, token, user } = await guestAt(a)
  expect((await guestAt(b, token)).user).toBe(user)
  client.socket.terminate()
  const rotated = await GatewayProcess.start(optionsOf('both'))
  stopsWithTest(rotated)
  const renewed = await guestAt(rotated, token)
  expect(renewed.user).toBe(user)
  // The renewed token is signed with the new key, which these gateways do not have yet.
  expect((await guestAt(a, renewed.token)).user).not.toBe(user)
})

test('at a gateway without the key a guest is a new guest, which is no error', async () => {
  const { token, user } = await guestAt(a)
  const apart = await GatewayProcess.start(optionsOf())
  stopsWithTest(apart)
  const there = await guestAt(apart, token)
  expect(there.user).toMatch(/^guest:[\w-]{22}$/)
  expect(there.user).not.toBe(user)
})

test('guests of one address fill only their share, on all gateways together; users always find room', async () => {
  const guests: Guest[] = []
  for (const gateway of [a, b, a, b])
    await until('the guests of the other tests have left', async () => {
      const guest = await guestAt(gateway).catch(() => undefined)
      if (guest) guests.push(guest)
      return guest !== undefined
    })
  const full = { code: 'CONNECTION_LIMIT', message: 'Cannot connect: guests use 4 of their 4 connections' }
  for (const gateway of [a, b])
    expect(await refusedUpgrade(chatUrl(gateway))).toMatchObject({ status: 429, body: full })
  const users = ['ann', 'bob', 'eve', 'joe']
  for (const [n, user] of users.entries()) await chatAs(n % 2 === 0 ? a : b, user)
  const [first] = guests
  first?.client.socket.terminate()
  await until('a user gets the place of the guest', async () => {
    const mia = await chatAs(b, 'mia').catch(() => undefined)
    return mia !== undefined
  })
})
