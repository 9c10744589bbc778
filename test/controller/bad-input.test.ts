// Invalid tenants that the API server accepts, with the controller as a process. Each leads to a condition
// and an Event, and the last good policy stays in force. Objects that the API server refuses are in
// test/kube/api-invalid.test.ts.
import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ChatClient } from '../support/chat-client.js'
import { ControllerProcess } from '../support/controller.js'
import { kubeStartMsMax } from '../support/kube-apiserver.js'
import { apiVersion, chatTenant, namespace } from '../support/kube-parley.js'
import {
  conditionOf,
  demoTenant,
  endWorlds,
  generated,
  admitted,
  openRules,
  ready,
  signToken,
  World,
} from '../support/reconciled.js'
import { until } from '../support/redis-processes.js'

let world: World
let controller: ControllerProcess

beforeAll(async () => {
  world = await World.start()
  const args = ['--public-url', 'wss://chat.example.com', '--identity', 'one']
  controller = await ControllerProcess.start(world.target, { sealingKeyFile: world.sealingKeyFile, args })
}, kubeStartMsMax)
afterAll(endWorlds)

async function secret(name: string, key: string): Promise<void> {
  const metadata = { name, namespace: 'demo', labels: { 'parley.chat/secret': 'import' } }
  await world.client.apply({ apiVersion: 'v1', kind: 'Secret', metadata, stringData: { key } })
}

describe('a tenant that is served', () => {
  const victim = { name: 'victim' }
  let token: string
  let ann: ChatClient

  beforeAll(async () => {
    token = (await world.readyTenant('victim')).token
    ann = await world.chat(token, 'demo/victim', { shared: true })
    const { privateKey } = generateKeyPairSync('ed25519')
    await secret('short', 'too short')
    await secret('private', privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
  })
  afterAll(() => ann.socket.terminate())

  const jwks = (jwksURI: string) => ({ type: 'JWKSURI', jwksURI })
  const held = (type: string, name: string) => ({ type, keyRef: { name, key: 'key' } })

  test.each([
    ['keys at the cloud’s metadata address', jwks('https://169.254.169.254/keys'), 'InvalidKey'],
    ['the metadata address as a number', jwks('https://2852039166/keys'), 'InvalidKey'],
    ['the metadata address in IPv6', jwks('https://[::ffff:169.254.169.254]/keys'), 'InvalidKey'],
    ['keys at a link-local IPv6 address', jwks('https://[fe80::1]/keys'), 'InvalidKey'],
    ['keys at localhost', jwks('https://localhost/keys'), 'InvalidKey'],
    ['a Secret that does not exist', held('SharedKey', 'nowhere'), 'KeyNotFound'],
    ['a key that is too short', held('SharedKey', 'short'), 'KeyTooShort'],
    ['a key of another type', held('PublicKey', 'short'), 'InvalidKey'],
    ['a private key instead of a public one', held('PublicKey', 'private'), 'InvalidKey'],
  ])('stays served after an edit that names %s', async (_, entry, reason) => {
    const auth = [...generated.auth, { name: 'bad', ...entry }]
    await world.client.apply(demoTenant('victim', { ...generated, auth }))
    const object = await world.condition('Accepted', { status: 'False', reason }, victim)
    expect(conditionOf(object, 'Stalled')).toMatchObject({ status: 'True', reason })
    const { message = '' } = conditionOf(object, 'Accepted') ?? {}
    expect(message).toContain('spec.auth[1]')
    await until('an Event', async () =>
      (await world.events('victim')).some(
        (event) => event.type === 'Warning' && event.reason === reason && event.note === message,
      ),
    )
    await ann.done({ type: 'chat', content: 'still here' })
    expect(await world.chatStatus(token, { tenant: 'demo/victim' })).toBe(admitted)
    expect(message).not.toContain('PRIVATE KEY')
  })

  test('is ready again when the edit is reverted', async () => {
    await world.client.apply(demoTenant('victim'))
    const object = await world.condition('Ready', ready, victim)
    expect(conditionOf(object, 'Stalled')).toBeUndefined()
    await ann.done({ type: 'chat', content: 'still here' })
  })
})

test('a replaced key of the tenant is valid at once, and the old key no longer', async () => {
  const [first, second] = ['first', 'second'].map((word) => `the ${word} key of this tenant’s own making`)
  await secret('own', first ?? '')
  const auth = [{ name: 'own', type: 'SharedKey', keyRef: { name: 'own', key: 'key' } }]
  await world.client.apply(demoTenant('replacing', { auth, channels: openRules }))
  await world.condition('Ready', ready, { name: 'replacing' })
  const [before, after] = [await signToken(first ?? ''), await signToken(second ?? '')]
  const place = { tenant: 'demo/replacing' }
  expect(await world.chatStatus(before, place)).toBe(admitted)
  await secret('own', second ?? '')
  await world.untilChatStatus(before, 401, place)
  await world.untilChatStatus(after, admitted, place)
})

test('two tenants of one name in two namespaces share nothing, even if one claims the other’s id', async () => {
  await world.client.apply(namespace('other'))
  const { object, token } = await world.readyTenant('twin')
  await world.client.apply(chatTenant(generated, { name: 'twin', ns: 'other' }))
  await world.condition('Ready', ready, { name: 'twin', ns: 'other' })
  const ref = { apiVersion, kind: 'ChatTenant', namespace: 'other', name: 'twin' }
  const { tenantID, revision } = object['status']
  await world.client.patch(ref, { status: { tenantID, revision } }, { subresource: 'status' })
  await until('its own id', async () => {
    const twin = await world.tenant('twin', 'other')
    return twin?.['status'].tenantID === twin?.metadata['uid']
  })
  expect(await world.chatStatus(token, { tenant: 'demo/twin' })).toBe(admitted)
  expect(await world.chatStatus(token, { tenant: 'other/twin' })).toBe(401)
  const otherToken = await world.token({ secret: 'twin-credentials', ns: 'other' })
  expect(await world.chatStatus(otherToken, { tenant: 'demo/twin' })).toBe(401)

  const ann = await world.chat(token, 'demo/twin')
  const cleo = await world.chat(await world.token({ secret: 'twin-credentials' }, 'cleo'), 'demo/twin')
  const bob = await world.chat(otherToken, 'other/twin')
  const received = (content: string) => cleo.texts.filter((text) => text.includes(content)).length
  // Her subscription to the lobby reaches Redis shortly after `welcome`.
  await until('a message of the same tenant', async () => {
    await ann.done({ type: 'chat', content: 'same tenant' })
    await cleo.settle()
    return received('same tenant') > 0
  })
  await bob.done({ type: 'chat', content: 'other tenant' })
  await ann.done({ type: 'chat', content: 'behind it' })
  await cleo.next('chat', ({ content }) => content === 'behind it')
  expect(received('other tenant')).toBe(0)
})

test('a tenant that is deleted while it is set up leaves nothing, and its name can be reused', async () => {
  const ref = { apiVersion, kind: 'ChatTenant', namespace: 'demo', name: 'hasty' }
  for (let life = 0; life < 10; life += 1) {
    await world.client.apply(demoTenant('hasty'))
    await world.client.delete(ref)
  }
  // Keys that were queued before it have been reconciled then.
  await world.readyTenant('bystander')
  await until('no such tenant', async () => (await world.policy('hasty')) === undefined)
  const { object, token } = await world.readyTenant('hasty')
  expect((await world.policy('hasty'))?.tenantId).toBe(object.metadata['uid'])
  expect(await world.chatStatus(token, { tenant: 'demo/hasty' })).toBe(admitted)
  expect(controller.program.said).not.toContain('"level":50')
})
