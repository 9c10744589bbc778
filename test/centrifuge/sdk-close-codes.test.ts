// The official client's reaction to every close code: it reconnects, or stays disconnected.
import { expect, test } from 'vitest'
import { unsubscribeCodes } from '../../src/protocol/codes.js'
import { collect, connectedAs, dataOf, gatewayFor, next, subscribed } from '../support/centrifuge-sdk.js'
import { finalCloses, onlySession, temporaryCloses } from '../support/ends.js'

test.each(temporaryCloses)('$code $reason: reconnects and subscribes again', async (close) => {
  const gateway = await gatewayFor()
  const ann = await connectedAs(gateway, 'ann')
  const general = await subscribed(ann, 'general', { recoverable: true })
  const atAnn = dataOf(general)
  const left = next(ann, 'connecting')
  const again = next(general, 'subscribed')
  onlySession(gateway).close(close)
  expect(await left).toEqual({ code: close.code, reason: close.reason })
  expect(await again).toMatchObject({ wasRecovering: true, recovered: true })
  await general.publish('here')
  expect(await atAnn.next()).toBe('here')
})

test.each(finalCloses)('$code $reason: does not reconnect', async (close) => {
  const gateway = await gatewayFor()
  const ann = await connectedAs(gateway, 'ann')
  const over = next(ann, 'disconnected')
  onlySession(gateway).close(close)
  expect(await over).toEqual({ code: close.code, reason: close.reason })
})

test.each(Object.values(unsubscribeCodes))('unsubscribe $code $reason', async (code) => {
  const gateway = await gatewayFor()
  const ann = await connectedAs(gateway, 'ann')
  const general = await subscribed(ann, 'general')
  const again = collect(general, 'subscribed')
  const over = collect(general, 'unsubscribed')
  const session = onlySession(gateway)
  for (const subscription of session.subscriptions.values()) session.endSubscription(subscription, code)
  if (code.code >= 2500) await again.next()
  else expect(await over.next()).toMatchObject({ code: code.code, reason: code.reason })
})
