// The methods that act on users' connections on all gateways: subscribe, unsubscribe, disconnect and refresh.
import type { z } from 'zod'
import { CommandError } from '../../errors.js'
import { closeCodes } from '../../protocol/codes.js'
import type { MessageFields } from '../../protocol/message-fields.js'
import { infoBytesMax } from '../../tenant/claims.js'
import { readRawPayload } from './raw-payload.js'
import { parseApiChannel, type ApiMethodCall } from './method.js'
import type { DisconnectParams, RefreshParams, SubscribeParams, UnsubscribeParams } from './schema.js'
import type { ConnectionSelector } from '../fleet/control-messages.js'

/**
 * Skips connections that the rules deny, and those at their subscription limit: only the gateway of the
 * connection knows that.
 */
export async function subscribeMethod(
  call: ApiMethodCall,
  fields: z.infer<typeof SubscribeParams>,
): Promise<MessageFields> {
  const channel = parseApiChannel(call, fields.channel)
  call.caller.requirePermission('Subscribe', channel)
  const { expire_at: expireAt, recover_since: since } = fields
  const data = clientPayload(call, 'data', fields.b64data)
  await call.gateway.userCommands.subscribe(call.tenant, selectorOf(fields), {
    channel,
    ...(data !== undefined && { data }),
    ...(expireAt && { expiresAtMs: expireAt * 1000 }),
    ...(since && { since: { epoch: since.epoch ?? '', offset: since.offset ?? 0 } }),
  })
  return {}
}

export async function unsubscribeMethod(
  call: ApiMethodCall,
  fields: z.infer<typeof UnsubscribeParams>,
): Promise<MessageFields> {
  const channel = parseApiChannel(call, fields.channel)
  call.caller.requirePermission('Subscribe', channel)
  await call.gateway.userCommands.unsubscribe(call.tenant, selectorOf(fields), channel)
  return {}
}

export async function disconnectMethod(
  call: ApiMethodCall,
  fields: z.infer<typeof DisconnectParams>,
): Promise<MessageFields> {
  call.caller.requireRole('Admin')
  call.caller.requireWholeTenant()
  const { code: given, reason } = fields.disconnect ?? {}
  const code = given || closeCodes.forceDisconnect.code
  await call.gateway.userCommands.disconnect(
    call.tenant,
    { ...selectorOf(fields), ...(fields.whitelist && { except: fields.whitelist }) },
    { code, reason: reason || (given ? '' : closeCodes.forceDisconnect.reason) },
  )
  return {}
}

export async function refreshMethod(
  call: ApiMethodCall,
  fields: z.infer<typeof RefreshParams>,
): Promise<MessageFields> {
  call.caller.requireRole('Admin')
  call.caller.requireWholeTenant()
  const info = clientPayload(call, 'info')
  if (info !== undefined && Buffer.byteLength(info) > infoBytesMax)
    throw new CommandError(
      'BAD_REQUEST',
      `info has ${Buffer.byteLength(info)} bytes, and at most ${infoBytesMax} are allowed`,
    )
  await call.gateway.userCommands.refresh(call.tenant, selectorOf(fields), {
    expired: fields.expired ?? false,
    ...(fields.expire_at && { expiresAtMs: fields.expire_at * 1000 }),
    ...(info !== undefined && { info }),
  })
  return {}
}

/**
 * Returns the JSON text of a field that clients receive; undefined when it is absent. Throws BAD_REQUEST when
 * it exceeds the message limit.
 */
function clientPayload(call: ApiMethodCall, field: string, base64?: string | null): string | undefined {
  const json = readRawPayload(call.requestText, field, base64)
  const { maxBytes } = call.tenant.policy.limits.messages
  if (json !== undefined && Buffer.byteLength(json) > maxBytes)
    throw new CommandError('BAD_REQUEST', `${field} exceeds the message limit of ${maxBytes} bytes`)
  return json
}

function selectorOf(fields: {
  user: string
  client?: string | null | undefined
  session?: string | null | undefined
}): ConnectionSelector {
  const { client, session, user } = fields
  return { user, ...(client && { client }), ...(session && { session }) }
}
