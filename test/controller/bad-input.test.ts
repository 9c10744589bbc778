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
  endEnvironments,
  generated,
  admitted,
  openRules,
  ready,
  signToken,
  TestEnvironment,
} from '../support/reconciled.js'
import { until } from '../support/redis-processes.js'

let environment: TestEnvironment
let controller: ControllerProcess

beforeAll(async () => {
  environment = await TestEnvironment.start()
  const args = ['--public-url', 'wss://chat.example.com', '--identity', 'one']
  controller = await ControllerProcess.start(environment.target, {
    sealingKeyFile: environment.sealingKeyFile,
    args,
  })
}, kubeStartMsMax)
afterAll(endEnvironments)

async function secret(name: string, key: string): Promise<void> {
  const metadata = { name, namespace: 'demo', labels: { 'parley.chat/secret': 'import' } }
  await environment.client.apply({ apiVersion: 'v1', kind: 'Secret', metadata, stringData: { key } })
}

describe('a tenant that is served', () => {
  const victim = { name: 'victim' }
  let token: string
  let ann: ChatClient

  beforeAll(async () => {
    token = (await environment.readyTenant('victim')).token
    ann = await environment.chat(token, 'demo/victim', { shared: true })
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
    await environment.client.apply(demoTenant('victim', { ...generated, auth }))
    const object = await environment.condition('Accepted', { status: 'False', reason }, victim)
    expect(conditionOf(object, 'Stalled')).toMatchObject({ status: 'True', reason })
    const { message = '' } = conditionOf(object, 'Accepted') ?? {}
    expect(message).toContain('spec.auth[1]')
    await until('an Event', async () =>
      (await environment.events('victim')).some(
        (event) => event.type === 'Warning' && event.reason === reason && event.note === message,
      ),
    )
    await ann.done({ type: 'chat', content: 'still here' })
    expect(await environment.chatStatus(token, { tenant: 'demo/victim' })).toBe(admitted)
    expect(message).not.toContain('PRIVATE KEY')
  })

  test('is ready again when the edit is reverted', async () => {
    await environment.client.apply(demoTenant('victim'))
    const object = await environment.condition('Ready', ready, victim)
    expect(conditionOf(object, 'Stalled')).toBeUndefined()
    await ann.done({ type: 'chat', content: 'still here' })
  })
})

test('a replaced key of the tenant is valid immediately, and the old key is not valid any more', async () => {
  const [first, second] = ['first', 'second'].map((word) => `the ${word} key of this tenant’s own making`)
  await secret('own', first ?? '')
  const auth = [{ name: 'own', type: 'SharedKey', keyRef: { name: 'own', key: 'key' } }]
  await environment.client.apply(demoTenant('replacing', { auth, channels: openRules }))
  await environment.condition('Ready', ready, { name: 'replacing' })
  const [before, after] = [await signToken(first ?? ''), await signToken(second ?? '')]
  const place = { tenant: 'demo/replacing' }
  expect(await environment.chatStatus(before, place)).toBe(admitted)
  await secret('own', second ?? '')
  await environment.untilChatStatus(before, 401, place)
  await environment.untilChatStatus(after, admitted, place)
})

test('two tenants of the same name in two namespaces share nothing, even if one of them claims the id of the other', async () => {
  await environment.client.apply(namespace('other'))
  const { object, token } = await environment.readyTenant('twin')
  await environment.client.apply(chatTenant(generated, { name: 'twin', ns: 'other' }))
  await environment.condition('Ready', ready, { name: 'twin', ns: 'other' })
  const ref = { apiVersion, kind: 'ChatTenant', namespace: 'other', name: 'twin' }
  const { tenantID, revision } = object['status']
  await environment.client.patch(ref, { status: { tenantID, revision } }, { subresource: 'status' })
  await until('its own id', async () => {
    const twin = await environment.tenant('twin', 'other')
    return twin?.['status'].tenantID === twin?.metadata['uid']
  })
  expect(await environment.chatStatus(token, { tenant: 'demo/twin' })).toBe(admitted)
  expect(await environment.chatStatus(token, { tenant: 'other/twin' })).toBe(401)
  const otherToken = await environment.token({ secret: 'twin-credentials', ns: 'other' })
  expect(await environment.chatStatus(otherToken, { tenant: 'demo/twin' })).toBe(401)

  const ann = await environment.chat(token, 'demo/twin')
  const cleo = await environment.chat(
    await environment.token({ secret: 'twin-credentials' }, 'cleo'),
    'demo/twin',
  )
  const bob = await environment.chat(otherToken, 'other/twin')
  const received = (content: string) => cleo.texts.filter((text) => text.includes(content)).length
  // The client's subscription to the lobby reaches Redis shortly after `welcome`.
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

test('a tenant that is deleted while it is created leaves nothing behind, and its name can be reused', async () => {
  const ref = { apiVersion, kind: 'ChatTenant', namespace: 'demo', name: 'hasty' }
  for (let life = 0; life < 10; life += 1) {
    await environment.client.apply(demoTenant('hasty'))
    await environment.client.delete(ref)
  }
  // When this tenant is ready, all keys that were queued before it have been reconciled.
  await environment.readyTenant('bystander')
  await until('no such tenant', async () => (await environment.policy('hasty')) === undefined)
  const { object, token } = await environment.readyTenant('hasty')
  expect((await environment.policy('hasty'))?.tenantId).toBe(object.metadata['uid'])
  expect(await environment.chatStatus(token, { tenant: 'demo/hasty' })).toBe(admitted)
  expect(controller.program.output).not.toContain('"level":50')
})
