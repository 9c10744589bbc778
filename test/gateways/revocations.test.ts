// Revocations on two gateways as operators run them, one of which reaches Redis through a proxy that cuts it
// off.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { mintToken } from '../../src/auth/mint.js'
import { FilesCatalog } from '../../src/catalog/files.js'
import { compileManifests } from '../../src/compile/manifests.js'
import { apiResult, callApi } from '../support/api-client.js'
import { centrifugeUrl, connected, next, sdkAt } from '../support/centrifuge-sdk.js'
import { chatAs, chatUrl, plainGet, type ChatClient } from '../support/chat-client.js'
import { endPrograms } from '../support/child-process.js'
import { GatewayProcess } from '../support/gateway-process.js'
import { RedisProxy } from '../support/redis-proxy.js'
import { endRedisProcesses, startRedis } from '../support/redis-processes.js'
import { deadlineMs } from '../support/waiting.js'

const samples = 'manifests/samples'
const issuer = FilesCatalog.open(samples, { compile: compileManifests }).get('demo/acme')?.issuers[0]
const options = { key: 'sample-api-key-of-acme-never-in-production' }

let proxy: RedisProxy
let near: GatewayProcess
let far: GatewayProcess

beforeAll(async () => {
  const redis = await startRedis()
  proxy = await new RedisProxy(redis.port).start()
  const args = ['--tenants', samples]
  near = await GatewayProcess.start({ redis: `redis://127.0.0.1:${redis.port}`, args })
  far = await GatewayProcess.start({ redis: `redis://127.0.0.1:${proxy.port}`, args })
})
afterAll(async () => {
  await endPrograms()
  await proxy.close()
  await endRedisProcesses()
})

async function token(user: string): Promise<string> {
  if (!issuer) throw new Error('the sample tenant has no key')
  return mintToken(issuer, { user, expiresInS: 3600, nowMs: Date.now() })
}

const chat = (gateway: GatewayProcess, user: string): Promise<ChatClient> =>
  chatAs({ ws: gateway.ws, token }, user)

const revoke = (fields: object) => apiResult(near, 'revoke', fields, options)

async function codeOf(gateway: GatewayProcess, user: string): Promise<unknown> {
  const { body } = await plainGet(`${chatUrl(gateway)}?token=${await token(user)}`)
  return (body as { code: string }).code
}

test('what one gateway acknowledges ends connections on the other, and refuses new ones', async () => {
  const ann = await chat(far, 'ann')
  const bob = await chat(far, 'bob')
  await revoke({ user: 'ann' })
  expect((await ann.closed()).code).toBe(4001)
  expect(await codeOf(far, 'ann')).toBe('TOKEN_REVOKED')
  const sdk = sdkAt(centrifugeUrl(far), { getToken: () => token('ann') })
  const over = next(sdk, 'disconnected')
  sdk.connect()
  expect((await over).code).toBe(3500)
  await bob.settle()
})

test('a gateway that is cut from Redis continues with what it knows, and catches up before it admits', async () => {
  const eve = await chat(far, 'eve')
  const sdk = await connected(sdkAt(centrifugeUrl(far), { getToken: () => token('eve') }))
  proxy.set({ refuse: true })
  proxy.cut()
  await revoke({ user: 'eve' })
  expect(await codeOf(near, 'eve')).toBe('TOKEN_REVOKED')
  // Known before the cut.
  await expect.poll(() => codeOf(far, 'ann'), { timeout: deadlineMs }).toBe('TOKEN_REVOKED')
  const { body } = await callApi(far, 'revoke', { user: 'mallory' }, options)
  expect(body).toMatchObject({ error: { message: expect.stringContaining('BROKER_UNAVAILABLE') as string } })
  const over = next(sdk, 'disconnected')
  proxy.heal()
  expect((await eve.closed()).code).toBe(4001)
  expect((await over).code).toBe(3500)
  expect(await codeOf(far, 'eve')).toBe('TOKEN_REVOKED')
})

test('a gateway that starts later refuses what was revoked before', async () => {
  const late = await GatewayProcess.start({
    redis: `redis://127.0.0.1:${proxy.port}`,
    args: ['--tenants', samples],
  })
  expect(await codeOf(late, 'ann')).toBe('TOKEN_REVOKED')
  expect(await codeOf(late, 'bob')).toBe('UPGRADE_REQUIRED')
})
