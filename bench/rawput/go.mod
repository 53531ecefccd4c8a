module rawput

go 1.22
