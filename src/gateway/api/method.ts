// What a method of the server API is, whichever it is.
import type { z } from 'zod'
import type { CommandError } from '../../errors.js'
import type { MessageFields } from '../../protocol/message-fields.js'
import { validationError } from '../../protocol/validation-error.js'
import type { ChannelRef } from '../../broker/broker.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { parseChannelName, type ChannelName } from '../../tenant/channel.js'
import type { ApiCaller } from './caller.js'
import type { Gateway } from '../gateway.js'

/** One method asked for, by a caller that has been let in. */
export interface ApiMethodCall {
  readonly gateway: Gateway
  readonly tenant: TenantRuntime
  readonly caller: ApiCaller
  /** The request as it came: messages are cut out of it, byte for byte. */
  readonly requestText: string
  /** What an error is to the caller. A fault of our own is in the log, a refusal is counted. */
  toRefusal(error: unknown): CommandError
}

export interface ApiMethod {
  readonly summary: string
  readonly request: z.ZodType
  readonly result: z.ZodType
  /** Resolves to the result. Rejects with CommandError; what else it rejects with is a bug. */
  run(call: ApiMethodCall, fields: unknown): Promise<MessageFields>
}

export function defineMethod<Asked>(method: {
  summary: string
  request: z.ZodType<Asked>
  result: z.ZodType
  run: (call: ApiMethodCall, fields: Asked) => Promise<MessageFields>
}): ApiMethod {
  return {
    ...method,
    async run(call, value) {
      const parsed = method.request.safeParse(value)
      if (!parsed.success) throw validationError(parsed.error, value)
      return method.run(call, parsed.data)
    },
  }
}

/** Throws INVALID_CHANNEL. */
export function parseApiChannel({ tenant }: ApiMethodCall, name: string): ChannelName {
  return parseChannelName(name, { maxLength: tenant.policy.limits.channels.nameMaxLength })
}

export function refOf({ tenant }: ApiMethodCall, channel: ChannelName): ChannelRef {
  return { tenantId: tenant.policy.tenantId, channel }
}
