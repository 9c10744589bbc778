import { LocalLedger } from './quota-ledger-local.js'
import { ledgerContract } from './quota-ledger.contract.js'

ledgerContract('LocalLedger', async () => ({ ledger: new LocalLedger(), close: async () => {} }))
