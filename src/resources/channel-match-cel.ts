// The checks and messages of `matchProblem`, as CEL rules for the API server. CEL cannot check Unicode normal
// forms or sizes in bytes; the compiler reports those.
import { celRaw, celRules } from './cel.js'
import { segmentsMax } from '../tenant/channel-match.js'

const segment = String.raw`(\*|\{user\}|\{claims\.[^{}*:]+\}|[^{}*:]*)`

/** RE2 does not support White_Space and Bidi_Control, so their members are listed here. */
const invisible = String.raw`[\p{Cc}\p{Z}\x{061C}\x{180E}\x{200B}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}\x{2066}-\x{2069}\x{FEFF}]`

export const matchRules = celRules([
  {
    rule: "self.type == 'Pattern' || !self.value.matches('[{}*]')",
    messageExpression: `'"' + self.value + '" contains braces or "*", which are allowed only in type Pattern.'`,
    fieldPath: '.value',
  },
  {
    rule: `self.type != 'Pattern' || self.value.matches(${celRaw(`^${segment}(:${segment})*$`)})`,
    messageExpression:
      `'"' + self.value + '" is not a valid pattern: each segment between colons is ` +
      `plain text, "*", "{user}" or "{claims.<name>}", and these cannot be combined.'`,
    fieldPath: '.value',
  },
  {
    rule: `self.type != 'Pattern' || self.value.split(':').size() <= ${segmentsMax}`,
    message: `A pattern has at most ${segmentsMax} segments.`,
    fieldPath: '.value',
  },
  {
    rule: "!self.value.matches('^[$#]')",
    message: 'A channel name may not begin with "$" or "#": such names are reserved for Parley.',
    fieldPath: '.value',
  },
  {
    rule: `!self.value.matches(${celRaw(invisible)})`,
    message: 'White space, control characters and invisible characters are not allowed in a channel name.',
    fieldPath: '.value',
  },
])
