// While a spec is not accepted, the last good policy stays in force, except for suspensions and revoked keys,
// which take effect immediately. The tests check real gateways, also after a change of the leader.
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TestController } from '../support/controller.js'
import { kubeStartMsMax } from '../support/kube-apiserver.js'
import { apiVersion, chatCredential } from '../support/kube-parley.js'
import {
  conditionOf,
  demoTenant,
  endEnvironments,
  generated,
  admitted,
  TestEnvironment,
} from '../support/reconciled.js'
import { until } from '../support/redis-processes.js'

let environment: TestEnvironment
let controller: TestController

beforeAll(async () => {
  environment = await TestEnvironment.start()
  controller = environment.controller()
}, kubeStartMsMax)
afterAll(endEnvironments)

const suspended = 403
const unknownKey = 401
const refused = { status: 'False', reason: 'PlanNotFound' }

async function applyInvalid(name: string, spec: object = {}): Promise<void> {
  const broken = { ...generated, planRef: { name: 'nowhere' }, ...spec }
  await environment.client.apply(demoTenant(name, broken))
}

test('suspension closes connections and refuses new ones until it is lifted', async () => {
  const { token } = await environment.readyTenant('sleeper')
  const ann = await environment.chat(token, 'demo/sleeper')
  await applyInvalid('sleeper', { suspend: true })
  expect(await ann.closed()).toMatchObject({ code: 3507 })
  await environment.untilChatStatus(token, suspended, { tenant: 'demo/sleeper' })
  const object = await environment.condition('Accepted', refused, { name: 'sleeper' })
  const programmed = conditionOf(object, 'Programmed')
  expect(programmed).toMatchObject({ status: 'False', reason: 'LastGoodRevision' })
  expect(programmed?.message).toContain(object['status'].revision)
  expect(programmed?.message).toContain('suspended')
  expect(object['status'].effective).toMatchObject({ plan: 'free' })

  await applyInvalid('sleeper')
  await environment.untilChatStatus(token, admitted, { tenant: 'demo/sleeper' })
})

test('suspension works for a controller that never saw the spec accepted', async () => {
  const { token } = await environment.readyTenant('inherited')
  await controller.stop()
  await applyInvalid('inherited')
  controller = environment.controller()
  await environment.condition('Accepted', refused, { name: 'inherited' })
  const ann = await environment.chat(token, 'demo/inherited')
  await ann.done({ type: 'chat', content: 'still here' })
  await applyInvalid('inherited', { suspend: true })
  expect(await ann.closed()).toMatchObject({ code: 3507 })
  await environment.untilChatStatus(token, suspended, { tenant: 'demo/inherited' })
})

test('an API key is revoked with its ChatCredential, and replaced when its Secret is deleted', async () => {
  await environment.readyTenant('keyed')
  for (const name of ['deleted', 'revoked']) {
    await environment.client.apply(chatCredential({ tenantRef: { name: 'keyed' } }, { name, ns: 'demo' }))
    await environment.condition('Ready', { status: 'True' }, { kind: 'ChatCredential', name })
  }
  const keysOf = async (credential: string): Promise<string[]> =>
    ((await environment.policy('keyed'))?.apiKeys ?? []).flatMap((key) =>
      key.credential === credential ? key.sha256 : [],
    )
  const [revoked] = await keysOf('revoked')
  expect(revoked).toHaveLength(64)
  expect(await keysOf('deleted')).toHaveLength(1)

  await applyInvalid('keyed')
  await environment.condition('Accepted', refused, { name: 'keyed' })
  await environment.client.delete({ apiVersion, kind: 'ChatCredential', namespace: 'demo', name: 'deleted' })
  await until('no key of the deleted', async () => (await keysOf('deleted')).length === 0)
  const secret = { apiVersion: 'v1', kind: 'Secret', namespace: 'demo', name: 'revoked-credential' }
  await environment.client.delete(secret)
  await until('another key', async () => {
    const keys = await keysOf('revoked')
    return keys.length === 1 && keys[0] !== revoked
  })
})

test('a generated key is revoked by deleting its Secret, and its successor is valid', async () => {
  const { token } = await environment.readyTenant('leaked')
  const ann = await environment.chat(token, 'demo/leaked')
  await applyInvalid('leaked')
  await environment.condition('Accepted', refused, { name: 'leaked' })
  await ann.done({ type: 'chat', content: 'still here' })
  const secret = { apiVersion: 'v1', kind: 'Secret', namespace: 'demo', name: 'leaked-credentials' }
  await environment.client.delete(secret)
  expect((await ann.closed()).reason).toContain('key')
  await environment.untilChatStatus(token, unknownKey, { tenant: 'demo/leaked' })
  await until('a Secret again', async () => (await environment.secret(secret.name)) !== undefined)
  const newToken = await environment.token({ secret: secret.name })
  await environment.untilChatStatus(newToken, admitted, { tenant: 'demo/leaked' })
})
