// A channel rule that asks for durability Durable while the installation has no archive: the controller does
// not accept the spec and reports it, and a live tenant keeps its last good revision.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { kubeStartMsMax } from '../support/kube-apiserver.js'
import {
  admitted,
  conditionOf,
  demoTenant,
  endEnvironments,
  generated,
  openRules,
  TestEnvironment,
} from '../support/reconciled.js'

let environment: TestEnvironment

beforeAll(async () => {
  environment = await TestEnvironment.start()
  environment.controller()
}, kubeStartMsMax)
afterAll(endEnvironments)

const refused = { status: 'False', reason: 'DurabilityUnavailable' }
const durable = { ...generated, channels: openRules.map((rule) => ({ ...rule, durability: 'Durable' })) }

test('a new tenant that asks for Durable is not accepted, and its conditions say why', async () => {
  await environment.client.apply(demoTenant('archived', durable))
  const object = await environment.condition('Accepted', refused, { name: 'archived' })
  expect(conditionOf(object, 'Accepted')?.message).toBe(
    'spec.channels[0].durability: Rule "lobby" asks for durability Durable, but this installation ' +
      'has no archive, so every publish would be refused. Use Replicated, Accepted, or omit the ' +
      'field.',
  )
  expect(conditionOf(object, 'Ready')).toMatchObject(refused)
  expect(conditionOf(object, 'Stalled')).toMatchObject({ status: 'True', reason: 'DurabilityUnavailable' })
  expect(conditionOf(object, 'Programmed')).toMatchObject({ status: 'False', reason: 'NeverAccepted' })
})

test('an edit that asks for Durable keeps the last good revision in force, and can be corrected', async () => {
  const { token } = await environment.readyTenant('edited')
  const ann = await environment.chat(token, 'demo/edited')
  const before = await environment.tenant('edited')
  await environment.client.apply(demoTenant('edited', durable))
  const object = await environment.condition('Accepted', refused, { name: 'edited' })
  expect(conditionOf(object, 'Programmed')).toMatchObject({ status: 'False', reason: 'LastGoodRevision' })
  expect(object['status'].revision).toBe(before?.['status'].revision)
  await ann.done({ type: 'chat', content: 'still here' })
  expect(await environment.chatStatus(token, { tenant: 'demo/edited' })).toBe(admitted)

  const accepted = { ...generated, channels: openRules.map((rule) => ({ ...rule, durability: 'Accepted' })) }
  await environment.client.apply(demoTenant('edited', accepted))
  await environment.condition('Accepted', { status: 'True' }, { name: 'edited' })
  await ann.done({ type: 'chat', content: 'and acknowledged' })
})
