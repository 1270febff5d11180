// Reads queries with Microsoft's own Kusto parser and binder: [{name, text, schema}] on standard input, [{name, errors, columns}] on
// standard output. A column, table or function that does not exist is an error, and so is a warning.
'use strict';

const fs = require('fs');
const path = require('path');

const library = path.join(process.argv[2], 'node_modules', '@kusto', 'language-service-next');
require(path.join(library, 'bridge.min.js'));
require(path.join(library, 'Kusto.Language.Bridge.min.js'));

/* global Kusto, System, Bridge */
const { KustoCode, GlobalState, Symbols } = Kusto.Language;

// The tables as a query meets them that runs on an Application Insights resource (classic names), and those of the workspace.
const everywhere = {
  timestamp: 'datetime', itemId: 'string', itemType: 'string', customDimensions: 'dynamic', customMeasurements: 'dynamic',
  operation_Name: 'string', operation_Id: 'string', operation_ParentId: 'string', operation_SyntheticSource: 'string',
  session_Id: 'string', user_Id: 'string', user_AuthenticatedId: 'string', user_AccountId: 'string', application_Version: 'string',
  client_Type: 'string', client_Model: 'string', client_OS: 'string', client_IP: 'string', client_City: 'string',
  client_StateOrProvince: 'string', client_CountryOrRegion: 'string', client_Browser: 'string', cloud_RoleName: 'string',
  cloud_RoleInstance: 'string', appId: 'string', appName: 'string', iKey: 'string', sdkVersion: 'string', itemCount: 'int',
};
const call = { id: 'string', name: 'string', success: 'string', resultCode: 'string', duration: 'real', performanceBucket: 'string' };
const insights = {
  requests: { ...call, source: 'string', url: 'string' },
  dependencies: { ...call, target: 'string', type: 'string', data: 'string' },
  exceptions: {
    problemId: 'string', handledAt: 'string', type: 'string', message: 'string', assembly: 'string', method: 'string',
    outerType: 'string', outerMessage: 'string', innermostType: 'string', innermostMessage: 'string', severityLevel: 'int',
    details: 'dynamic',
  },
  traces: { message: 'string', severityLevel: 'int' },
  customEvents: { name: 'string' },
  customMetrics: {
    name: 'string', value: 'real', valueCount: 'int', valueSum: 'real', valueMin: 'real', valueMax: 'real', valueStdDev: 'real',
  },
  availabilityResults: {
    id: 'string', name: 'string', location: 'string', success: 'string', message: 'string', size: 'real', duration: 'real',
    performanceBucket: 'string',
  },
};
const workspace = {
  Usage: { TimeGenerated: 'datetime', DataType: 'string', Quantity: 'real', QuantityUnit: 'string', IsBillable: 'bool', Solution: 'string' },
  _LogOperation: {
    TimeGenerated: 'datetime', Category: 'string', Operation: 'string', Level: 'string', Detail: 'string', _ResourceId: 'string',
  },
  // Columns of the firewalls' logs: general knowledge.
  AGWFirewallLogs: { TimeGenerated: 'datetime', Action: 'string', RuleId: 'string', Message: 'string', TransactionId: 'string' },
  AzureDiagnostics: {
    TimeGenerated: 'datetime', Category: 'string', action_s: 'string', ruleName_s: 'string', trackingReference_s: 'string',
  },
};

function state(tables, common) {
  const symbols = Object.entries(tables).map(([name, columns]) => {
    const list = Object.entries({ ...columns, ...common }).map(([column, type]) => `['${column}']:${type}`);
    return new Symbols.TableSymbol.$ctor7(name, `(${list.join(', ')})`, '');
  });
  const array = System.Array.init(symbols, Symbols.Symbol);
  // The compiled library numbers its constructors; which of them takes a name and tables is found by trying.
  for (const constructor of ['ctor', '$ctor1', '$ctor2', '$ctor3']) {
    try {
      const database = new Symbols.DatabaseSymbol[constructor]('telemetry', array);
      if (Bridge.toArray(database.Tables).length === symbols.length) {
        return GlobalState.Default.WithDatabase(database);
      }
    } catch {
      // Not this one.
    }
  }
  throw new Error('the Kusto library has no constructor for a database of tables');
}

const schemas = { insights: state(insights, everywhere), workspace: state(workspace, {}) };

const results = JSON.parse(fs.readFileSync(0, 'utf8')).map(({ name, text, schema }) => {
  const code = KustoCode.ParseAndAnalyze(text, schemas[schema]);
  const errors = Bridge.toArray(code.GetDiagnostics())
    .filter((found) => found.Severity !== 'Suggestion')
    .map((found) => {
      const before = text.slice(0, found.Start).split('\n');
      return `${name}:${before.length}:${before[before.length - 1].length + 1}: ${found.Code} ${found.Message}`;
    });
  const columns = code.ResultType && code.ResultType.Columns ? Bridge.toArray(code.ResultType.Columns).map((column) => column.Name) : [];
  return { name, errors, columns };
});
process.stdout.write(JSON.stringify(results));
