raise SystemExit('never copied')
