// The quota of stored bytes, as clients and backends see it.
import { expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { adminKey, apiError, apiKey, apiResult } from '../support/api-client.js'
import { chatAs, joined } from '../support/chat-client.js'
import { generousLimits, rule } from '../support/policies.js'

const limits = { ...generousLimits, retention: { ...generousLimits.retention, storedBytes: 50_000 } }
const large = 'x'.repeat(15_000)

test('above the quota publishes with history are refused, with the use, the limit and what to do', async () => {
  const gateway = await gatewayFor({
    limits,
    apiKeys: [apiKey(adminKey)],
    channels: [rule('general'), rule('lobby'), rule('live', { history: null })],
  })
  const ann = await chatAs(gateway, 'ann')
  await joined(ann, 'general')
  await joined(ann, 'live')
  for (let n = 0; n < 4; n += 1)
    await ann.done({ type: 'room_message', room: 'general', content: `${n} ${large}` })
  ann.send({ type: 'room_message', room: 'general', content: 'small', id: 'refused' })
  const refused = await ann.next('error')
  expect(refused).toMatchObject({ code: 'STORAGE_LIMIT' })
  expect(refused['message']).toMatch(/occupy \d+ of 50000 bytes\. Wait until .* expire, remove the history/)
  // Nothing is stored for these.
  await ann.done({ type: 'room_message', room: 'live', content: 1 })
  expect(await apiError(gateway, 'publish', { channel: 'general', data: 1 })).toMatchObject({ code: 111 })
  await apiResult(gateway, 'publish', { channel: 'general', data: 1, skip_history: true })
  // Removing the history gives the bytes back.
  await apiResult(gateway, 'history_remove', { channel: 'general' })
  await ann.done({ type: 'room_message', room: 'general', content: 'small' })
})

test('the quota of one tenant does not limit another', async () => {
  const gateway = await gatewayFor({ limits, channels: [rule('general'), rule('lobby')] })
  const ann = await chatAs(gateway, 'ann')
  for (let n = 0; n < 4; n += 1)
    await ann.done({ type: 'room_message', room: 'general', content: `${n} ${large}` })
  ann.send({ type: 'room_message', room: 'general', content: 1, id: 'refused' })
  expect(await ann.next('error')).toMatchObject({ code: 'STORAGE_LIMIT' })
  const { broker } = gateway.gateway.context
  expect(broker.storage.storedBytes('another')).toBe(0)
})
