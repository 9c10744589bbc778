// An answer that is no, read once: HTTP status, headers and the body's Status become one ApiError.
import { z } from 'zod'
import { parseJson } from '../json.js'
import { ApiError } from './api-error.js'

const Status = z.object({
  kind: z.literal('Status'),
  message: z.string().default(''),
  reason: z.string().optional(),
  code: z.int().optional(),
  details: z
    .object({
      retryAfterSeconds: z.number().optional(),
      causes: z
        .array(
          z.object({
            reason: z.string().default(''),
            field: z.string().default(''),
            message: z.string().default(''),
          }),
        )
        .optional(),
    })
    .optional(),
})

/** Where a proxy answered, or a server without words: the reason that its number stands for. */
const reasonsByCode: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Expired',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
}

const retryAfterMsMax = 3_600_000

/** Of an HTTP answer whose status is no success. `body` is whatever came. */
export function errorOfAnswer(code: number, body: string, headers: { 'retry-after'?: string | undefined }) {
  return apiError(parseJson(body), { code, retryAfterMs: retryAfterMs(headers['retry-after']), body })
}

/** Of the object of an ERROR event inside a watch, which is a Status or nonsense. */
export function errorOfStatus(object: unknown): ApiError {
  return apiError(object, { code: 500, retryAfterMs: undefined, body: '' })
}

function apiError(
  object: unknown,
  http: { code: number; retryAfterMs: number | undefined; body: string },
): ApiError {
  const parsed = Status.safeParse(object)
  if (!parsed.success) {
    const said = http.body.slice(0, 200).replaceAll(/\s+/g, ' ').trim()
    const reason = reasonsByCode[http.code] ?? 'Unknown'
    return new ApiError(`status ${http.code}${said === '' ? '' : `: ${said}`}`, { ...http, reason })
  }
  const { message, details, code = http.code } = parsed.data
  const reason = parsed.data.reason ?? ''
  const seconds = details?.retryAfterSeconds
  return new ApiError(message === '' ? `status ${code}` : message, {
    code,
    reason: reason === '' ? (reasonsByCode[code] ?? 'Unknown') : reason,
    retryAfterMs: http.retryAfterMs ?? (seconds === undefined ? undefined : seconds * 1000),
    causes: details?.causes ?? [],
  })
}

/** Seconds, or an HTTP date; not of the past, and not of next week. */
function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined
  const waitMs = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return Number.isNaN(waitMs) ? undefined : Math.min(Math.max(waitMs, 0), retryAfterMsMax)
}
