// Bad tenants that the API server cannot tell from good ones, at the controller as operators run it: each lands in a condition and an Event,
// and what was served goes on. What the API server itself refuses is in test/kube/api-invalid.test.ts.
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
    ['keys at the cloud’s metadata', jwks('https://169.254.169.254/keys'), 'InvalidKey'],
    ['the same as a number', jwks('https://2852039166/keys'), 'InvalidKey'],
    ['the same in IPv6', jwks('https://[::ffff:169.254.169.254]/keys'), 'InvalidKey'],
    ['keys of a neighbour by link-local IPv6', jwks('https://[fe80::1]/keys'), 'InvalidKey'],
    ['keys of the pod itself', jwks('https://localhost/keys'), 'InvalidKey'],
    ['a Secret that is not there', held('SharedKey', 'nowhere'), 'KeyNotFound'],
    ['a key that is too short', held('SharedKey', 'short'), 'KeyTooShort'],
    ['a key of another kind', held('PublicKey', 'short'), 'InvalidKey'],
    ['a private key where a public one belongs', held('PublicKey', 'private'), 'InvalidKey'],
  ])('loses nothing by an edit that wants %s', async (_, entry, reason) => {
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

  test('is as it was when the edit is taken back', async () => {
    await world.client.apply(demoTenant('victim'))
    const object = await world.condition('Ready', ready, victim)
    expect(conditionOf(object, 'Stalled')).toBeUndefined()
    await ann.done({ type: 'chat', content: 'still here' })
  })
})

test('a key of the tenant’s own that is replaced counts at once, and the former no more', async () => {
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

test('two tenants of one name in two namespaces share nothing, whatever id one claims', async () => {
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
  const theirs = await world.token({ secret: 'twin-credentials', ns: 'other' })
  expect(await world.chatStatus(theirs, { tenant: 'demo/twin' })).toBe(401)

  const ann = await world.chat(token, 'demo/twin')
  const cleo = await world.chat(await world.token({ secret: 'twin-credentials' }, 'cleo'), 'demo/twin')
  const bob = await world.chat(theirs, 'other/twin')
  const heard = (content: string) => cleo.texts.filter((text) => text.includes(content)).length
  // Over Redis she is in the lobby a moment after `welcome`.
  await until('a message among ours', async () => {
    await ann.done({ type: 'chat', content: 'among ours' })
    await cleo.settle()
    return heard('among ours') > 0
  })
  await bob.done({ type: 'chat', content: 'among others' })
  await ann.done({ type: 'chat', content: 'behind it' })
  await cleo.next('chat', ({ content }) => content === 'behind it')
  expect(heard('among others')).toBe(0)
})

test('tenants that are deleted while they are being made leave nothing, and their name serves the next', async () => {
  const ref = { apiVersion, kind: 'ChatTenant', namespace: 'demo', name: 'hasty' }
  for (let life = 0; life < 10; life += 1) {
    await world.client.apply(demoTenant('hasty'))
    await world.client.delete(ref)
  }
  // Whatever was queued before it has been looked at.
  await world.readyTenant('bystander')
  await until('no such tenant', async () => (await world.policy('hasty')) === undefined)
  const { object, token } = await world.readyTenant('hasty')
  expect((await world.policy('hasty'))?.tenantId).toBe(object.metadata['uid'])
  expect(await world.chatStatus(token, { tenant: 'demo/hasty' })).toBe(admitted)
  expect(controller.program.said).not.toContain('"level":50')
})
